"""Intervals and time limits of the running service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Waits of a run, in seconds; tests use shorter ones.

    check_outboxes_s: between checks for missing outboxes. reprobe_s: until an unusable sync folder is tried again.
    ledger_pause_s: until the next start after the ledger's disk failed. respawn_first_s, respawn_longest_s: backoff
    before a dead engine is respawned, doubling with each failure. finish_s: for the batch in progress at a signal to
    stop. quiet_look_s: between checks of the wall clock in quiet hours; it may have been set, or the machine may have
    slept. give_up_s, once_give_up_s: until an unchanging, incomplete file is passed on to be held; in `run`, `once`.
    doubt_s: until one is passed on that only ends in zeros that may not be written. tell_unfinished_s: until a file
    that is not finished is shown by `status`.
    """

    check_outboxes_s: float = 5.0
    reprobe_s: float = 5.0
    ledger_pause_s: float = 5.0
    respawn_first_s: float = 1.0
    respawn_longest_s: float = 60.0
    finish_s: float = 20.0
    quiet_look_s: float = 60.0
    give_up_s: float = 600.0
    once_give_up_s: float = 10.0
    doubt_s: float = 60.0
    tell_unfinished_s: float = 30.0


DEFAULT_TIMING = Timing()
