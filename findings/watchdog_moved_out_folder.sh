#!/bin/sh
# watchdog's inotify observer goes deaf, for good and for every folder, after a folder was moved out and another one took its name.
#
# Versions: watchdog 7.1.0 (2026-11-29), Linux.
# Likely guess: a folder that leaves a watched tree is no longer watched, and `observer.is_alive()` tells whether events come.
# What happens: its watch stays, under its old name. Two watches then have one name; when both folders are removed, the newer one
# first, the thread that reads the events ends with a KeyError. `observer.is_alive()` stays true, and no event comes any more.
# (Moved back, the folder is watched a second time, which is a RuntimeWarning of two kilobytes: "Callback with id ... already exists".)
# Output seen: "heard before: True, alive: True, heard after: False".
#
# Makes its own input; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check watchdog==7.1.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>/dev/null
import sys
import time
from pathlib import Path

from watchdog.events import DirCreatedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

root = Path(sys.argv[1]) / "watched"
root.mkdir()
heard = []


class Handler(FileSystemEventHandler):
    def on_any_event(self, event: FileSystemEvent) -> None:
        heard.append(Path(event.src_path).name)


observer = Observer()
observer.schedule(Handler(), str(root), recursive=True, event_filter=[DirCreatedEvent])
observer.start()


def is_heard(name: str) -> bool:
    (root / name).mkdir()
    time.sleep(2)
    return name in heard


before = is_heard("trip")
(root / "trip").rename(root.parent / "elsewhere")
(root / "trip").mkdir()
time.sleep(2)
(root / "trip").rmdir()
(root.parent / "elsewhere").rmdir()
time.sleep(2)
alive, after = observer.is_alive(), is_heard("other")
print(f"heard before: {before}, alive: {alive}, heard after: {after}")
sys.exit((before, alive, after) != (True, True, False))
PYTHON
