"""fawkesd: watches folders of exported photos and publishes cloaked copies to sync-ready folders.

     outbox/*.jpg                                                         sync/*.jpg
         | events, rescans                                                    ^ link or rename (atomic)
         v                                                                    |
     watcher -> intake (readiness, containers) -> ledger -> dispatch -> publisher (syncfolder)
                                                    ^          | ^
                                                    |     jobs v | results
                                                 status       pool == pipe ==> worker -> fawkes_engine.engine

    service   wires the parts, owns the loop, the signals and the order of stopping
    settings  the configuration file; cli, init, cloak: what a person types
    model     the values that cross these modules; names, files, locks, targets: leaves

One process (the supervisor) runs everything except `worker`, which runs in the engine process. The supervisor
never imports torch and is the only one that touches the staging and sync folders.
"""
