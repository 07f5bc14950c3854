# Two commands matter: `make run` and `make test`. Each sets up all that it needs on a fresh Debian 12 or 13.
SHELL := /bin/bash
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
PIP_QUIET := --quiet --disable-pip-version-check --no-input

# What `make run` needs of the system, and what the tests' peers need on top.
SYSTEM := python3 python3-venv ca-certificates tzdata
SYSTEM_TEST := $(SYSTEM) git ffmpeg python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-tools gstreamer1.0-rtsp \
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
	gstreamer1.0-libav glib-networking openssl chromium fonts-dejavu-core iproute2 libatomic1
SYSTEM_LONG := $(SYSTEM_TEST) strace mmdebstrap nginx-light fuse3 xfsprogs btrfs-progs

.PHONY: help setup setup-test setup-long run test test-long test-fresh lint bench lock clean
.DEFAULT_GOAL := help

help:
	@echo "make run         two demo cameras and a gateway; prints the link to its page"
	@echo "make test        every check, with real cameras, stores and a browser (about 15 minutes)"
	@echo "make test-long   the long checks: kills by the dozen, and a soak"
	@echo "make test-fresh  the README's two commands in a fresh Debian 12 and 13 (needs root)"
	@echo "make lint        ruff and mypy"
	@echo "make bench       CPU and memory per stream beside one ffmpeg per stream, as ratios"

setup: $(VENV)/.ready
setup-test: setup $(VENV)/.ready-test .peers/ipycam/.ready .peers/seaweedfs/.ready
setup-long: setup-test .peers/fuse/.ready
	@./images/system-packages $(SYSTEM_LONG)

$(VENV)/.ready: requirements.lock pyproject.toml
	@./images/system-packages $(SYSTEM)
	@echo "setting up $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install $(PIP_QUIET) --require-hashes -r requirements.lock
	@$(BIN)/pip install $(PIP_QUIET) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready requirements-dev.lock
	@./images/system-packages $(SYSTEM_TEST)
	@$(BIN)/pip install $(PIP_QUIET) --require-hashes -r requirements-dev.lock
	@touch $@

# Other people's programs live in environments of their own: ipycam brings OpenCV, and some shadow our imports.
.peers/%/.ready: tests/peers/%.lock
	@echo "setting up the peer $* ..."
	@test -x .peers/$*/bin/python || $(PYTHON) -m venv .peers/$*
	@.peers/$*/bin/pip install $(PIP_QUIET) --require-hashes -r $<
	@touch $@

# A killed demo is started again; every other way to end (Ctrl-C, a fault) ends it.
run: setup
	@while $(BIN)/simpang demo $(ARGS); code=$$?; test $$code -eq 137; do echo "the demo was killed; starting it again"; done; \
	exit $$code

test: setup-test lint
	@$(BIN)/pytest $(ARGS)

test-long: setup-long
	@$(BIN)/pytest --override-ini="norecursedirs=.*" tests/long $(ARGS)

test-fresh: setup-long
	@./tests/fresh/run $(ARGS)

lint: setup-test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: setup-long
	@$(BIN)/python tests/bench/recording.py $(ARGS)
	@$(BIN)/python tests/bench/page.py
	@$(BIN)/python tests/bench/index.py
	@$(BIN)/python tests/bench/rebuild.py
	@$(BIN)/python tests/bench/start.py

# Rewrites the locks from pyproject.toml; needs `uv` on the PATH.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		--upgrade pyproject.toml --group build -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		--upgrade pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) .peers data dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
