# Set-up is done in $(VENV) by the first target that needs it. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
CMAKE := $(BIN)/cmake
NATIVE := $(shell find csrc -name '*.cc' -o -name '*.h' -o -name '*.cu')
PACKAGE := pyproject.toml setup.py CMakeLists.txt constraints.txt $(NATIVE)
CPP := $(shell find csrc tests/cpp tests/cuda -name '*.cc' -o -name '*.h' -o -name '*.cu')

export CMAKE_BUILD_PARALLEL_LEVEL ?= $(JOBS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test install lint format stubs cpp-test cuda clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed ## Install, try fourteen puzzles, compare the algorithms
	$(BIN)/treeward solve --file examples/game24.jsonl --algorithm mcts --budget-tokens 2000
	$(BIN)/treeward evaluate --suite game24 --limit 60 \
	  --algorithms greedy,best_of_n,beam,mcts --budget-tokens 1000

test: $(VENV)/.installed-test ## Install and run the Python tests
	$(BIN)/python -m pytest

install: $(VENV)/.installed ## Install the package in $(VENV)

lint: $(VENV)/.installed-test $(VENV)/.installed-tools ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CPP)

format: $(VENV)/.installed-tools ## Apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

stubs: $(VENV)/.installed $(VENV)/.installed-tools ## Write the type stubs of the native module anew
	rm -rf build/stubs
	$(BIN)/pybind11-stubgen search._native -o build/stubs --exit-code
	mkdir -p search/_native
	rm -f search/_native/*.pyi
	cp build/stubs/search/_native/*.pyi search/_native/

cpp-test: $(VENV)/.installed-tools ## Run the C++ tests, plain and under sanitizers
	$(call cpp_test,plain,)
	$(call cpp_test,sanitize,address$(comma)undefined)

cuda: $(VENV)/.installed-tools ## Compile the CUDA sources where nvcc is found, test on a device
	@if ! command -v nvcc >/dev/null; then echo "cuda: no nvcc found, skipped"; \
	elif ! ls csrc/cuda/*.cu >/dev/null 2>&1; then echo "cuda: no sources yet, skipped"; \
	else $(CMAKE) -S . -B build/cuda -DTREEWARD_PYTHON=OFF -DTREEWARD_CUDA=ON -DTREEWARD_TESTS=ON \
	  && $(CMAKE) --build build/cuda --target treeward_cuda tree_attention_test --parallel $(JOBS) \
	  && $(BIN)/ctest --test-dir build/cuda -L cuda --verbose; fi

clean: ## Remove what was built (not the environment, not build/puzzles)
	rm -rf build/native-* build/cpp-* build/cuda build/stubs build/ci dist *.egg-info
	rm -f search/_native.*.so $(VENV)/.installed*

comma := ,
define cpp_test
	$(CMAKE) -S . -B build/cpp-$(1) -DTREEWARD_PYTHON=OFF -DTREEWARD_TESTS=ON \
	  -DTREEWARD_CUDA=OFF -DTREEWARD_WERROR=ON -DTREEWARD_SANITIZE=$(2)
	$(CMAKE) --build build/cpp-$(1) --parallel $(JOBS)
	$(BIN)/ctest --test-dir build/cpp-$(1) --output-on-failure
endef

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "treeward needs Python 3.10 or newer; choose one with PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet "pip>=23"

$(VENV)/.installed: $(PACKAGE) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(PACKAGE) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e ".[test]"
	touch $(VENV)/.installed $@

# Programs only: the package itself is not built again for them.
$(VENV)/.installed-tools: constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt ruff mypy clang-format pybind11-stubgen cmake
	touch $@
