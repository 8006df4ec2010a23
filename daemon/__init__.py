"""fawkesd: watches folders of exported photos and publishes cloaked copies to sync-ready folders.

     outbox/*.jpg                                                                   sync/*.jpg
         | events, rescans                                                              ^ link or rename (atomic)
         v                                                                              |
      watch/ ------------> state/ledger -----> service/dispatcher ----> outcomes ---> publish/
      watcher -> intake    one row per photo,   |  admission               ^          verify, stage, link
      readiness,           the truth            v                          |
      completeness            |              workers/ == pipe ==> fawkes_engine.engine, in a process of its own
                              v
                           status/  what a person asks, with or without a running service

A room imports only from rooms on lower lines; rooms on one line do not know each other. `tests/test_architecture.py`
holds that.

    __main__
    cli/        what a person types, and the only room that prints
    measure/    bench, evaluate, study, audit: what cloaks cost and are worth
    service/    the run: its parts, its loop, how work on a photo begins (admission) and ends (outcomes, review), hooks
    web/        the page `fawkesd web`, in a process of its own: reads the ledger, acts through the control socket
    doctor/     checks of the machine, the folders, the published files
    batch/      named files through the engine, without the service
    cluster/    engines on other machines: targets for them, and the check of what they return
    watch/      what arrives: events, rescans, settled and complete files; ends at a READY row of the ledger
    workers/    engine processes: the pool, one process, its pipe, what runs in it
    publish/    one user's way into the sync folder, and its pause when a disk is full or a drive is missing
    status/     status, history, and why a photo is held
    control/    the control socket: commands, server, client
    install/    the systemd units (templates in service/ beside this package), preflight, where they go
    state/      what outlives a run: ledger, history, targets, cached results
    config/     one YAML file -> Settings
    sd/ fs/     systemd's notify socket and journal; files, names and locks, safe below a folder
    exits       exit codes
    model, timing, text, errors   values that every room may use

One process (the supervisor) runs everything except `workers.worker` and the engine of `cluster`: those run in the
engine process. The supervisor never imports torch or Dask, and alone touches the staging and sync folders.
"""
