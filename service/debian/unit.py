"""Prints fawkesd.service of the Debian package: the one of a system service, for the package's own folders.

Whoever has photos elsewhere runs `fawkesd service install --system`, whose unit in /etc takes the place of this one.
"""

import pwd
from pathlib import Path

from daemon.config.settings import EngineConfig, Settings, UserSettings
from daemon.install.units import Program, Scope, Service, text_of

HOME, PHOTOS, ENVIRONMENT = Path("/var/lib/fawkesd"), Path("/srv/fawkesd"), Path("/opt/fawkesd")
CONFIG = Path("/etc/fawkesd/fawkesd.yaml")

anyone = UserSettings.model_construct(
    name="anyone", outboxes=(PHOTOS / "outbox",), sync=PHOTOS / "sync" / "anyone"
)
settings = Settings.model_construct(
    users=(anyone,),
    state_dir=HOME,
    # The devices of a graphics card are let in: whether there is one is not known here.
    engine=EngineConfig.model_construct(device="cuda", models_dir=HOME),
)
account = pwd.struct_passwd(("fawkesd", "x", 0, 0, "", str(HOME), ""))
program = Program(ENVIRONMENT / "bin/python", (ENVIRONMENT,))
text = text_of(
    Service(settings, CONFIG, account, Scope.SYSTEM, once=False, program=program), "fawkesd.service"
)
first, rest = text.removeprefix("# Written by `fawkesd service install`. ").split("[Unit]\n", 1)
print(f"# {first}[Unit]\nConditionPathExists={CONFIG}\n{rest}", end="")
