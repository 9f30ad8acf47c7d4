"""One run file followed into views, for thread workers: nothing is read or computed twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle_tui.formats import escape
from oracle_tui.listing import example_folders
from oracle_tui.view_parts import Finished, candidate_rows, finishing_order, scatter_of, stage_of
from oracle_tui.views import Axes, RunView

if TYPE_CHECKING:
    import numpy as np

    from engine.store.liveness import HeartbeatClock
    from engine.store.reader import RunReader
    from oracle_tui.deeper import Agreement, Beside, Board, CurvesView
    from oracle_tui.plots.line import LineData

__all__ = ["RunFollower", "example_folders"]

LOG_LINES = 400

#: Up to this many candidates the one that L1-norm pruning would choose is looked for.
L1_SEARCH = 20_000

#: Up to this many candidates tau over n is part of the first view of a run.
LINE_AT_ONCE = 5_000


class RunFollower:
    """Follows one run file. Any worker may call it; one at a time gets through."""

    def __init__(self, path: Path) -> None:
        """Remember the run; nothing is opened before the first read."""
        self.path = path
        self.axes = Axes()  # what the next view is looked at by
        self._lock = threading.Lock()
        self._reader: RunReader | None = None
        self._clock: HeartbeatClock | None = None
        self._version = 0  # of the rows: one more whenever some came
        self._done: Finished | None = None
        self._view: RunView | None = None
        self._seen: tuple[Any, ...] = ()
        self._l1: int | None = None
        self._not_l1: Any = ()  # candidates known to be another choice than L1's
        self._line: LineData | None = None
        self._line_due = 0.0
        self._line_of_what: tuple[Any, ...] = ()  # version and axes

    def read(self) -> RunView:
        """Return the run as it is now; cheap where nothing changed.

        Raises:
            UsageError: the run cannot be read; the sentence says why.
        """
        with self._lock:
            return self._read()

    def lost(self, candidate: int) -> tuple[str, ...]:
        """Return what a candidate lost, a line for each layer."""
        from engine.lost import lost_lines

        with self._lock:
            if self._reader is None:
                return ()
            lines = lost_lines(self._reader.config, self._reader.pruned(candidate))
            return tuple(map(escape, lines))

    def agreement(self) -> Agreement | None:
        """Return tau over epochs and the noise ceiling; None before the first read.

        The file is read under the lock, the statistics (seconds for a big run) are not.
        """
        from oracle_tui.deeper import agreement_of

        with self._lock:
            if self._reader is None or self._done is None:
                return None
            rows, curves, done = self._reader.rows, self._reader.curves(), self._done
        return agreement_of(rows, curves, done)

    def curves(
        self, wanted: Sequence[int], oracle: int | None, column: int, glyphs: Mapping[int, str]
    ) -> CurvesView:
        """Return the learning curves of candidates and of the oracle, means over repeats."""
        import numpy as np

        from oracle_tui.deeper import curves_of

        found = {}
        with self._lock:
            reader, repeats = self._reader, self._done.facts.repeats if self._done else 1
            for candidate in glyphs if reader is not None else ():
                curves = [
                    curve
                    for repeat in range(repeats)
                    if reader is not None and (curve := reader.curve(candidate, repeat)) is not None
                ]
                if curves:
                    found[candidate] = np.mean(curves, axis=0)
        return curves_of(found, oracle, wanted, column, glyphs)

    def beside_the_paper(self) -> Beside | None:
        """Return the run beside the paper's panel of the same study, if there is one."""
        from oracle_tui.deeper import beside_the_paper

        with self._lock:
            if self._reader is None:
                return None
            config, rows = self._reader.config, self._reader.rows
        return beside_the_paper(config, rows)

    def board(self, outcome: str) -> Board | None:
        """Return the leaderboard of the run's scores; None before the first read."""
        from oracle_tui.deeper import board_of

        with self._lock:
            if self._reader is None:
                return None
            config, rows = self._reader.config, self._reader.rows
        return board_of(config, rows, outcome)

    def _read(self) -> RunView:
        from engine.store.reader import RunReader
        from engine.store.requests import pending_request

        if self._reader is None:
            self._reader = RunReader(self.path)
            self._version += 1
        elif self._reader.refresh():
            self._version += 1
        reader, folder = self._reader, self._reader.folder
        status, message = self._status(reader)
        live = reader.live() if folder else None
        log = tuple(reader.log_tail(LOG_LINES)) if folder else ()
        request = (pending_request(folder) or "") if folder else ""
        axes = self._axes_of(reader)
        seen = (self._version, axes, status, message, live, log, request)
        if self._view is None or seen != self._seen or self._line_is_due():
            self._view = self._build(reader, axes, status, message, live or {}, log, request)
            self._seen = seen
        return self._view

    def _axes_of(self, reader: RunReader) -> Axes:
        """The axes asked for, as far as the run has them."""
        scores = reader.layout.score_names
        score = self.axes.score if self.axes.score in scores else scores[0]
        return Axes(score, self.axes.outcome)

    def _status(self, reader: RunReader) -> tuple[str, str]:
        """Return the status to show and what is to be said with it."""
        # Of a stopped run, too: an engine may have taken it up again and wait for room to say so.
        if reader.status == "done" or reader.folder is None:
            return reader.status, reader.message
        from engine.store.liveness import HeartbeatClock, engine_life
        from oracle_tui.life import engine_sentence

        if self._clock is None:
            self._clock = HeartbeatClock()
        life = engine_life(reader.folder, reader.status, self._clock)
        message = reader.message
        if life.state in ("dead", "silent", "remote") or life.note:
            take_over = f"take it over with `oracle-tui resume {reader.folder.name} --takeover`"
            message = engine_sentence(life, "r starts a new one", take_over)
        return life.status, message

    def _build(
        self,
        reader: RunReader,
        axes: Axes,
        status: str,
        message: str,
        live: Mapping[str, Any],
        log: tuple[str, ...],
        request: str,
    ) -> RunView:
        from engine.summary import finished_rows

        config, rows = reader.config, reader.rows
        if self._done is None or (self._done.version, self._done.axes) != (self._version, axes):
            self._done = Finished(self._version, axes, config, rows, self._l1_choice(reader))
        done = self._done
        provisional = live.get("provisional") or []
        scatter = scatter_of(rows, done, provisional)
        return RunView(
            id=escape(str(config.get("run_id", self.path.name))),
            path=self.path,
            title=done.facts.title,
            status=status,
            message=escape(message),
            n_done=len(finished_rows(rows)),
            n_total=int(config.get("n_total", 0)),
            stage=stage_of(live),
            numbers=done.numbers,
            scatter=scatter,
            line=self._line_of(rows, done),
            rows=candidate_rows(rows, provisional, axes.score),
            axes=axes,
            scores=reader.layout.score_names,
            version=self._version,
            provisional=len(scatter.provisional_candidate),
            repeats=done.facts.repeats,
            layers=tuple(escape(str(layer)) for layer in config.get("layers", ())),
            spec=done.facts.lines,
            request=request,
            log=log,
        )

    def _l1_choice(self, reader: RunReader) -> int | None:
        """The candidate that L1-norm pruning would choose; looked for until all are scored."""
        import numpy as np

        wanted = reader.config.get("l1_pruned")
        if self._l1 is not None or not isinstance(wanted, list):
            return self._l1
        scored = np.unique(reader.rows["candidate"])
        fresh = scored[~np.isin(scored, self._not_l1)]
        if len(scored) > L1_SEARCH:
            return None
        self._not_l1 = scored
        self._l1 = next((int(c) for c in fresh if reader.pruned(int(c)) == wanted), None)
        return self._l1

    def _line_is_due(self) -> bool:
        if self._done is None:
            return True
        version, axes = self._line_of_what or (None, None)
        # Other axes are asked for by a key, which is answered at once.
        late = time.monotonic() >= self._line_due
        return axes != self._done.axes or (version != self._version and late)

    def _line_of(self, rows: np.ndarray, done: Finished) -> LineData:
        """Tau over n; recomputed when rows came, but never for more than a tenth of the time.

        The first view of a big run comes without it: the line then costs more than all the rest.
        """
        from engine.statistics import running_tau
        from oracle_tui.plots.line import LineData

        if self._line is None and len(done.candidates) > LINE_AT_ONCE:
            self._line = LineData()
            return self._line
        if self._line is not None and not self._line_is_due():
            return self._line
        start = time.monotonic()
        order = finishing_order(rows, done.candidates[done.sampled])
        score, outcome = done.score[done.sampled][order], done.outcome[done.sampled][order]
        found = running_tau(score, outcome)
        self._line = LineData(
            x=found.n.astype(float),
            y=found.tau,
            low=found.lower,
            high=found.upper,
            x_name="finished candidates",
            x_whole=True,
            bounds=(-1.0, 1.0),
        )
        self._line_of_what = (self._version, done.axes)
        now = time.monotonic()
        self._line_due = now + 9 * (now - start)
        return self._line
