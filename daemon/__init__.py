"""fawkesd: watches folders of exported photos and publishes cloaked copies to sync-ready folders.

     outbox/*.jpg                                                        sync/*.jpg
         | events, rescans                                                   ^ link or rename (atomic)
         v                                                                   |
      watcher -> intake ----------> ledger ------> dispatch --> outcomes --> publisher
                 readiness,         (the truth)    |          (all policy)  syncfolder
                 containers            |           v ^
                                     status      pool, child == pipe ==> worker -> fawkes_engine.engine

    service, supervisor   a run, and its parts: the loop, and the order of starting and stopping
    destinations     which users can publish now; a full disk or a missing drive pauses one user
    roots     which outboxes are there; an unplugged drive is no deletion
    results   what could not be published yet, so that the engine need not repeat it
    kernel    writers, kinds of file systems, limits
    wakeup, control, orders, caller   signals, the control socket, what it carries, a command's side of it
    system, notify, journal         what systemd hears; hooks, notices: what the user's programs and desktop hear
    unit, fit, installer            the systemd units: their text, whether they would work, where they go
    cli*, init, cloak, settings     what a person types and writes
    quiet     the hours of the day in which nothing is begun
    bench, benchengine, benchphotos what cloaks cost on this machine
    audit*, sybil, ownphotos, shelf what a user asks of published photos, decoys, and where results go
    evaluate, study                 what cloaks are worth, on folders of photos
    history, status, why, places, show*, doctor*   what a person asks, read beside the running service
    model, facts, errors, names, files, locks, targets, schema   values and leaves

One process (the supervisor) runs everything except `worker`, which runs in the engine process. The supervisor
never imports torch and is the only one that touches the staging and sync folders.
"""
