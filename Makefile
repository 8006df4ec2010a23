# `make demo` shows the main job, `make test` passes the tests, `make all` and `make numeric` are most of what CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# What makes PyTorch and its libraries compute as on a CPU that has AVX2 alone
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
HAS_MORE := import sys, torch; sys.exit(not torch.cpu.get_capabilities().get("avx512_f"))

# Tests run in as many processes as there are cores, and in three at most: one takes up to 1.4 GB, what it starts another
WORKERS := -n auto --maxprocesses 3 --dist worksteal

.PHONY: demo install lint types test explore numeric slow wheel deb all clean

# PyPI's PyTorch brings 5 GB of CUDA; where no driver of a graphics card is, its small build is tried first, with uv
HAS_GPU := $(shell command -v nvidia-smi)

# The extra `systemd` is compiled against libsystemd-dev; where that is missing, its tests skip
HAS_SYSTEMD := $(shell pkg-config --exists libsystemd 2>/dev/null && echo yes)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
ifeq ($(HAS_GPU),)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	UV_HTTP_RETRIES=0 $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend cpu -c constraints.txt torch torchvision \
		|| echo "PyTorch's CPU build cannot be had here; its CUDA build follows"
endif
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
ifneq ($(HAS_SYSTEMD),)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt systemd-python
endif
	-$(BIN)/fawkesd models fetch  # where that fails, cloaks are computed against dlib alone
	touch $@

install: $(VENV)/installed

demo: install
	$(BIN)/python -m tests.demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

test: install
	$(BIN)/python -m pytest $(WORKERS)

# Other examples of the properties than the ones that `make test` always tries, and ten times as many
explore: install
	$(BIN)/python -m pytest $(WORKERS) -m "hypothesis and not slow" --hypothesis-profile=explore

# The tests of arithmetic as other machines run them: on one thread and on two, as this CPU is and as one with AVX2.
# On two threads they run in one process: workers would share the cores, and threads that wait for each other are slow.
numeric: numeric-native-1 numeric-native-2 numeric-avx2-1 numeric-avx2-2

numeric-native-%: install
	OMP_NUM_THREADS=$* MKL_NUM_THREADS=$* $(BIN)/python -m pytest -m numeric $(if $(filter 1,$*),$(WORKERS))

numeric-avx2-%: install
	@if $(BIN)/python -c '$(HAS_MORE)'; \
	then $(AVX2) $(MAKE) numeric-native-$*; \
	else echo "This CPU has no AVX-512: numeric-native-$* is the same."; fi

slow: install
	$(BIN)/python -m pytest -m slow

# dist/ gets the wheel and the source distribution
wheel: install
	$(BIN)/python -m build --outdir dist

# dist/ gets the Debian package; needs debhelper and dpkg-dev
deb: install
	service/debian/build.sh $(BIN)/python

all: lint types test

clean:
	rm -rf $(VENV) build dist *.egg-info demo-out bench-out
