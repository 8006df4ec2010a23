"""fawkesd: watches folders of exported photos and publishes cloaked copies to sync-ready folders.

     outbox/*.jpg                                                        sync/*.jpg
         | events, rescans                                                   ^ link or rename (atomic)
         v                                                                   |
      watcher -> intake ----------> ledger ------> dispatch ------------> publisher
                 readiness,         (the truth)    | (all policy)         syncfolder
                 containers            |           v ^
                                     status      pool, child == pipe ==> worker -> fawkes_engine.engine

    service   wires the parts; owns the loop, the signals and the order of stopping
    lanes     which users can publish now; a full disk or a missing drive pauses one user
    cli, init, cloak, settings   what a person types and writes
    model, errors, names, files, locks, targets, schema   values and leaves

One process (the supervisor) runs everything except `worker`, which runs in the engine process. The supervisor
never imports torch and is the only one that touches the staging and sync folders.
"""
