# `make demo` shows the main job, `make test` passes the tests, `make all` is what CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo install lint types test slow all clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
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
	$(BIN)/python -m pytest

slow: install
	$(BIN)/python -m pytest -m slow

all: lint types test

clean:
	rm -rf $(VENV) build *.egg-info demo-out bench-out
