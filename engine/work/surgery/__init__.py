"""Taking filters out of a network: slice plans, and K candidates' states by one gather a tensor."""

from engine.work.surgery.fitting import emptied, fitted
from engine.work.surgery.gather import Kept, State, slim_state, stack_states, take_network
from engine.work.surgery.graph import plan_from_graph
from engine.work.surgery.plan import LayerPlan, Slice, SlicePlan, kept_filters
from engine.work.surgery.wiring import (
    candidate_states,
    consumers_keep,
    kept_by_layer,
    l1_selection,
    weight_tensors,
)

__all__ = [
    "Kept",
    "LayerPlan",
    "Slice",
    "SlicePlan",
    "State",
    "candidate_states",
    "consumers_keep",
    "emptied",
    "fitted",
    "kept_by_layer",
    "kept_filters",
    "l1_selection",
    "plan_from_graph",
    "slim_state",
    "stack_states",
    "take_network",
    "weight_tensors",
]
