# Needs make, git and Python 3.11 or newer; everything else goes into .venv.
# Another Python than the first one found: make PYTHON=/path/to/python3 simulate

PYTHON ?=
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet install

.DEFAULT_GOAL := help
.PHONY: help simulate test test-crash test-full test-report test-wheel soak lint format bench docs clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*##/make \1\t/p' $(firstword $(MAKEFILE_LIST))

simulate: $(VENV)/.installed  ## train 10,000 seeds of the default experiment; again, it goes on where it was
	@$(VENV)/bin/jaxor simulate --seeds 10000 --resume

test:  ## run everything that continuous integration runs
	@.ci/run

test-crash: $(VENV)/.installed-dev  ## run the crash suite in full: kills, full disks, damage, races; half an hour
	@$(VENV)/bin/python -m pytest tests/crash --full

test-full: $(VENV)/.installed-dev  ## run every test there is, the crash suite in full among them; an hour
	@$(VENV)/bin/python -m pytest --full --doctest-modules jaxor tests

test-report: $(VENV)/.installed-browser  ## look at reports in Chromium: errors, network, phone width, dark, accessibility
	@$(HAVE_CHROMIUM) || $(VENV)/bin/playwright install --with-deps chromium \
		|| { apt-get update -qq && apt-get install -y -qq chromium; }
	@$(VENV)/bin/python -m pytest tests/browser --browser
	@echo "Screenshots are in outputs/screenshots."

test-wheel: $(VENV)/.created  ## build the wheel, install, use and test it with the oldest and the newest packages it allows
	@$(VENV)/bin/python -m tests.wheel

soak: $(VENV)/.installed-dev  ## simulate 1,000,000 seeds under kill -9 and watch memory and open files
	@$(VENV)/bin/python -m tests.crash.soak

lint:  ## run its checks of style, types and layers, without the tests
	@.ci/run lint

format: $(VENV)/.installed-dev  ## format the code and fix what can be fixed mechanically
	@$(VENV)/bin/ruff check --fix
	@$(VENV)/bin/ruff format

bench: $(VENV)/.installed-bench  ## measure speed beside other ways to train, scaling, lanes, storage and start-up
	@$(VENV)/bin/python -m bench

docs: $(VENV)/.installed-docs  ## build the documentation with its gallery into docs/_build/html; a few minutes
	@$(VENV)/bin/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html
	@$(VENV)/bin/python docs/check_site.py docs/_build/html
	@echo "Open docs/_build/html/index.html in a browser."

clean:  ## remove .venv, caches and builds; runs under outputs/ stay
	@rm -rf $(VENV) build dist docs/_build docs/generated htmlcov .coverage .coverage.* \
		.pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

HAVE_CHROMIUM = command -v chromium >/dev/null || command -v google-chrome >/dev/null

define CREATE_VENV
old= bare=
for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do
    version=$$($$python -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
    if ! $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        old="$${old:+$$old, }$$python is $$version"
    elif ! $$python -c 'import ensurepip, venv' 2>/dev/null; then
        bare="$$bare python$${version%.*}-venv"
    else
        echo "Creating $(VENV) with Python $$version."
        $$python -m venv $(VENV)
        touch $(VENV)/.created
        exit 0
    fi
done
if [ -n "$$bare" ]; then
    echo "No virtual environment can be created because Python's module ensurepip is missing:" \
        "install it (on Debian and Ubuntu: apt install$$bare) and run make again." >&2
else
    echo "jaxor needs Python 3.11 or newer, but $${old:-no Python was found under the names tried}:" \
        "install a newer one, or name it with make PYTHON=/path/to/python3." >&2
fi
exit 1
endef

$(VENV)/.created: export SCRIPT = $(CREATE_VENV)
$(VENV)/.created:
	@sh -euc "$$SCRIPT"

$(VENV)/.installed: pyproject.toml $(VENV)/.created
	@echo "Installing jaxor and what it needs into $(VENV); this takes a minute or two, once."
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-bench: pyproject.toml $(VENV)/.created
	@echo "Installing jaxor and what it is measured against into $(VENV); this takes a few minutes, once."
	@$(PIP) --editable '.[bench]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-browser: $(VENV)/.installed-dev
	@echo "Installing what drives a browser into $(VENV); this takes a minute, once."
	@$(PIP) --editable '.[browser]'
	@touch $@

$(VENV)/.installed-docs: pyproject.toml $(VENV)/.created
	@echo "Installing jaxor and what builds its documentation into $(VENV); this takes a minute or two, once."
	@$(PIP) --editable '.[docs]'
	@touch $(VENV)/.installed $@

# The development installation holds the plain one, so it sets both stamps.
$(VENV)/.installed-dev: pyproject.toml $(VENV)/.created
	@echo "Installing jaxor and its development tools into $(VENV); this takes a few minutes, once."
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@
