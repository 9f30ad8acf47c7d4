"""The study engine: prune, score and retrain every candidate; useful without the app.

The modules directly in this package (and `engine.store`) are the quiet floor: they never import
torch. `engine.work` is the working floor: everything that computes with networks.
"""

__version__ = "0.1.0"
