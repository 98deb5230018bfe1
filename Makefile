# The two main commands are `make up` and `make test`. `make` alone lists all targets.
# FROM=upstream downloads published binaries of upstream projects instead of building them. Machines then verify
# upstream's checksums, and Pulumi's own plugins manage the state. So FROM=upstream uses a separate stack.
FROM ?=
$(if $(filter-out upstream,$(FROM)),$(error FROM: must be upstream or absent, got $(FROM)))
$(if $(and $(FROM),$(filter test e2e e2e-selinux e2e-clouds e2e-inspection e2e-runner power-cuts bench bench-scale disturb,$(MAKECMDGOALS))),$(error FROM: must be absent for tests and benchmarks, which need programs that are built from modules))
$(if $(filter mirror,$(MAKECMDGOALS)),$(if $(DIR),,$(error DIR: must be a folder, such as DIR=/srv/mirror)))
STACK ?= $(or $(FROM),dev)
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# sets the environment variables with which `pulumi` uses devcloud
ENV = eval "$$($(MAKE) --no-print-directory env)";

# the installed pulumi with the credentials of the environment, or else devcloud's
PULUMI = type -P pulumi >/dev/null || $(ENV)

# toolchain builds with the same settings, so a package that several programs and tests import is compiled only once
export GOFLAGS := -trimpath -gcflags=all=-dwarf=false
export CGO_ENABLED := 0
export GOAMD64 := v1

# selects the version of Go with which toolchain builds a module
AS_BUILT = GOTOOLCHAIN=$$(sed -n 's/^toolchain //p' go.mod)

# the file selects the processes that get huge pages. Debian's kernels have [always], and kernels of some clouds have
# [madvise]. With [madvise], page faults take a third of all processor time.
HUGE_PAGES = /sys/kernel/mm/transparent_hugepage/enabled

# the phases of `make test`
TESTS = lint test-root test-plugins test-kubernetes test-storage test-skydns

# runs a linter in the version of the linters' module. Go keeps the programs in its build cache.
LINTER = go tool -modfile=hack/toolchain/lint/go.mod

# prints the names of all shell scripts, which it finds by their first line or their name
SCRIPTS = { git grep -lE '^\#!/bin/(ba)?sh' -- ':!*.go' ':!*.md'; git ls-files '*.sh'; } | sort -u

# .ci/run replaces this command by hack/gotest, which also records the seconds of each test
GOTEST = go test

# sends a request to the sample as a client outside of the cluster does. The data centre's resolver gets its name from
# the cluster's DNS, and the router gets the route to its ClusterIP over BGP.
REACH_SAMPLE = go run ./hack/devcloud exec router -- curl -sS http://hello.default.svc.cluster.local

# resolves the name of the sample with the cluster's DNS at its announced address, as the data centre's resolver does
RESOLVE_SAMPLE = go run ./hack/devcloud exec router -- dig +short @10.96.0.10 hello.default.svc.cluster.local

# the dashboards, for clients outside of the cluster
DASHBOARDS = http://perses.monitoring.svc.cluster.local

# prints the name of the stack's DNS server
DNS = $$(grep -qs 'provider: coredns' Pulumi.$(STACK).yaml && echo CoreDNS || echo SkyDNS)

# $(call with_devcloud,OPTIONS) runs a command with another devcloud, which `up` starts with these options
with_devcloud = XDG_STATE_HOME=$$(mktemp -d); export XDG_STATE_HOME; \
	trap 'go run ./hack/devcloud down --purge; rm -rf $$XDG_STATE_HOME' EXIT; \
	go run ./hack/toolchain pulumi plugins; go run ./hack/devcloud up $(1);

# commas would separate the arguments of call
VARIANTS = no-cross-az-attach,no-resolver,no-serials,proxy

# print the CPU seconds of the whole machine since its boot, and those that the hypervisor gave to other machines
CPU = awk '/^cpu /{printf "%d", ($$2+$$3+$$4+$$7+$$8)/100}' /proc/stat
STOLEN = awk '/^cpu /{printf "%d", $$9/100}' /proc/stat

# $(call install,PACKAGES) installs Debian packages, and first updates the list of packages if this is necessary
define install
install() { DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-upgrade --no-install-recommends $(1) >/dev/null; }; \
	[ -n "$$(apt-get indextargets)" ] && install 2>/dev/null || { apt-get update -qq; install; }
endef

# $(call summary,PHASES,REMARK) prints the seconds of each timed-PHASE, from files in the folder $$times. It also prints
# the total seconds since $$used was set to $(CPU) and $$stolen to $(STOLEN).
define summary
for phase in $(1); do \
	  read -r wall user system <$$times/$$phase; printf '  %-15s %5d s, CPU %5d s\n' $$phase $$wall $$((user + system)); \
	done; \
	printf '  %-15s %5d s, CPU %5d s of all processes of this machine, stolen %d s; $(2)\n\n' all $$SECONDS $$(($$($(CPU)) - used)) $$(($$($(STOLEN)) - stolen))
endef

.PHONY: help up env pulumi-up nodes sample down destroy preview review drift comment fleet resume push mirror kubeconfig dashboards status timeline release test $(TESTS) e2e e2e-life e2e-others e2e-selinux e2e-clouds e2e-inspection e2e-runner power-cuts bench bench-scale disturb host browser screenshot toolchain toolchain-all image official-image cloud

help: ## list all targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## start OpenStack on this machine and create the stack `dev` on it; FROM=upstream downloads published binaries
	@logs=$$(mktemp -d) times=$$(mktemp -d); trap 'rm -r $$logs $$times' EXIT; used=$$($(CPU)) stolen=$$($(STOLEN)); \
	phase() { $(MAKE) --no-print-directory timed-$$1 TIMES=$$times; }; \
	phase host; \
	(phase toolchain 2>&1 | tee $$logs/toolchain) & building=$$!; \
	(phase cloud 2>&1 | tee $$logs/cloud) & starting=$$!; \
	failed=; wait $$building || failed=toolchain; wait $$starting || failed+=" cloud"; \
	for phase in $$failed; do printf '\nmake %s failed:\n' $$phase; tail -n 5 $$logs/$$phase; done; [ -z "$$failed" ] || exit 1; \
	phase pulumi-up; phase nodes; phase sample; \
	printf '\nThe cluster is up:\n'; \
	$(call summary,host toolchain cloud pulumi-up nodes sample,toolchain and cloud ran in parallel)
	@echo "Next:"
	@echo "  eval \"\$$(make env)\"                                            # pulumi uses this OpenStack"
	@echo "  pulumi stack output --stack $(STACK) --show-secrets kubeconfig > kubeconfig"
	@echo "  kubectl --kubeconfig kubeconfig get nodes                       # from this host"
	@echo "  go run ./hack/devcloud exec $(STACK)-etcd-0 -- etcdctl member list    # any command on any machine"
	@echo "  make destroy$(if $(FROM), FROM=$(FROM)); make down                                         # deletes everything"
	@echo
	@echo "Connect to a Service by its cluster name, from the data centre's router:"
	@echo "  $(REACH_SAMPLE)"
	@echo
	@address=$$($(RESOLVE_SAMPLE)); echo "For the router, $(DNS) resolves this name to $${address:?the cluster DNS did not answer. Run: $(RESOLVE_SAMPLE)}:"
	@echo "  $(RESOLVE_SAMPLE)"
	@$(ENV) monitoring() { pulumi config get --stack $(STACK) --path "kubernetes-openstack:cluster.monitoring.$$1" 2>/dev/null | grep -qx true; }; \
	! monitoring enabled || { \
	  printf '\nOpen the dashboards at http://127.0.0.1:8080 on this host, during this command:\n'; \
	  echo "  kubectl --kubeconfig kubeconfig port-forward --namespace=monitoring deployment/perses 8080"; \
	  ! monitoring openDashboards || { \
	    printf '\nThe data centre opens them at $(DASHBOARDS), for example the router:\n'; \
	    echo "  go run ./hack/devcloud exec router -- curl -sS $(DASHBOARDS)/api/v1/health"; }; }

test: host browser toolchain-all image official-image ## run all tests that need no running OpenStack
	@times=$$(mktemp -d); trap 'rm -r $$times' EXIT; used=$$($(CPU)) stolen=$$($(STOLEN)); result=passed; \
	$(MAKE) --no-print-directory --jobs --keep-going --output-sync TIMES=$$times $(TESTS:%=timed-%) || result=FAILED; \
	printf '\nThe tests have %s:\n' $$result; \
	$(call summary,$(TESTS),they ran in parallel); \
	[ $$result = passed ]

e2e: host toolchain-all cloud ## test devcloud, and the Pulumi engine on its OpenStack; skips unchanged suites that passed, ALL=1 runs all suites
	@$(MAKE) --no-print-directory --keep-going e2e-life e2e-others

e2e-life: # alone, and its sequences one after the other, because they need most of two processors
	$(GOTEST) -vet=off -tags e2e -run '^TestE2ELife$$' -count 1 -parallel 1 -timeout 80m -v ./tests

e2e-others:
	@$(MAKE) --no-print-directory --jobs --keep-going e2e-tests e2e-devcloud

e2e-%: # runs the other suites of a package, which take turns with all others. One `go test` for both packages would print nothing before its end
	$(GOTEST) -vet=off -tags e2e -run '^TestE2E' -skip '^TestE2ELife$$' -count 1 -parallel 8 -timeout 80m -v $(wildcard ./$* ./hack/$*)

e2e-selinux: host ## boot a control plane in QEMU with a kernel that enforces SELinux; not in CI
	@$(call install,qemu-system-x86)
	go test -vet=off -tags e2e -run '^TestSELinuxEnforces$$' -count 1 -timeout 30m -v ./templates

e2e-clouds: host toolchain-all ## create clusters on a devcloud that is like other clouds (docs/clouds.md); run `make down` first; not in CI
	@$(call with_devcloud,--variants $(VARIANTS)) go test -vet=off -tags e2e -run '^TestClouds' -count 1 -timeout 60m -v ./tests

e2e-inspection: host browser toolchain-all cloud ## create a cluster with monitoring, and check alerts, dashboards, drift, fleet, listeners and secrets; not in CI
	go test -vet=off -tags e2e -run '^TestPersesDrawsDashboards$$' -count 1 -v ./hack/toolchain
	go test -vet=off -tags e2e -run '^TestInspection$$' -count 1 -timeout 60m -v ./tests

e2e-runner: host ## run the GitHub workflow of examples/ci with the runner of Gitea; not in CI
	@go run ./hack/toolchain pulumi plugins
	cd hack/toolchain/runner && go test -tags e2e -count 1 -timeout 60m -v .

power-cuts: host toolchain-all cloud ## SEED=1 CUTS=20: cut the power of machines at random moments of first boots, and then of reboots; not in CI
	go test -vet=off -tags e2e -run '^TestPowerCuts$$' -count 1 -timeout 120m -v ./tests

bench: host toolchain-all cloud ## compare with a kubeadm cluster, and measure the network and previews; writes docs/contributing/benchmarks.md
	go test -tags e2e -run '^$$' -bench . -benchtime 1x -timeout 40m -v ./tests

env: ## print exports: eval "$(make env)" gives a shell pulumi, kubectl and OpenStack credentials
	@go run ./hack/toolchain env
	@go run ./hack/devcloud env

bench-scale: host ## measure clusters of 30, 100 and 300 fake workers, or of WORKERS=300; run `make down` first; writes docs/contributing/benchmarks.md
	@$(call with_devcloud,--compute fake) go test -tags e2e -run '^$$' -bench 'Scale$(if $(WORKERS),/^$(WORKERS)$$)' -benchtime 1x -timeout 120m -v ./tests

disturb: host ## RUNS=20 SEED=1: kill the engine, or disturb the APIs, at random moments of up, change and destroy; run `make down` first
	@$(call with_devcloud,--compute fake) go test -tags e2e -run '^TestDisturb' -count 1 -parallel 4 -timeout 240m -v ./tests \
		-args -seed $(or $(SEED),1) -runs $(or $(RUNS),20)

preview: ## show the changes of the next `up`; needs no network
	@$(ENV) pulumi preview --stack $(STACK) --diff

review: ## STACK="staging prod": preview stacks, and write dist/comment.md and dist/full.md for a pull request; BASE=REVISION: only stacks that the change since then touches
	@$(PULUMI) rm -rf dist/previews dist/*.md dist/exit-code; mkdir -p dist/previews; go build -o dist/ ./cmd/review; \
	stacks='$(STACK)'; [ -z "$${BASE-}" ] || stacks=$$(git diff --name-only --no-renames "$$BASE" | dist/review -touched "$$stacks"); \
	code=0 previews=(); for stack in $$stacks; do \
	  previews+=(dist/previews/$$stack.json); pulumi preview --stack $$stack --json >dist/previews/$$stack.json || code=4; \
	done; \
	result=0; dist/review $(if $(QUOTA),-quota) -full dist/full.md "$${previews[@]}" >dist/comment.md || result=$$?; \
	[ $$result -ne 1 ] || exit 1; [ $$result -le $$code ] || code=$$result; \
	cat dist/full.md; echo $$code >dist/exit-code; [ $$code -lt 4 ]

drift: ## STACK=prod JSON=1: compare a stack with OpenStack and with what its machines run; changes nothing
	@$(PULUMI) go build -o dist/ ./cmd/drift; dist/drift -stack '$(STACK)' $(if $(JSON),-json)

comment: # writes dist/comment.md to the pull request of a CI job. A second run updates the comment
	@go run ./cmd/comment dist/comment.md

fleet: ## list the clusters of all stacks, and write dist/fleet.html
	@mkdir -p dist; $(PULUMI) go run ./cmd/fleet -html dist/fleet.html

resume: # STACK=prod: continues after an `up` or a destroy that failed or was killed
	@$(PULUMI) go run ./cmd/resume -s '$(STACK)'

push: ## MACHINE=dev-worker-0: update changed templates on a running machine of devcloud, without a replacement
	@$(ENV) go run ./cmd/push --stack $(STACK) $(MACHINE)

mirror: $(if $(FROM),,toolchain) ## DIR=/srv/mirror STACK=prod FROM=upstream: fill a folder with all downloads of a stack, for clusters without internet access
	@go run ./cmd/mirror --stack $(STACK) --from $(or $(FROM),toolchain) '$(DIR)' $(IMAGES)

kubeconfig: ## PROJECT=web@Default: print the kubeconfig for the users of an OpenStack project
	@$(ENV) pulumi stack output --stack $(STACK) --show-secrets kubeconfig | go run ./cmd/tenant-kubeconfig --project '$(PROJECT)'

dashboards: browser ## check that each dashboard of the stack has data, and write their pictures to docs/dashboards
	@$(ENV) kubeconfig=$$(mktemp); trap 'rm $$kubeconfig' EXIT; mkdir -p docs/dashboards; \
	pulumi stack output --stack $(STACK) --show-secrets kubeconfig >$$kubeconfig; \
	KUBECONFIG=$$kubeconfig go test -vet=off -tags e2e -run '^TestDashboards$$' -count 1 -v ./tests

status: ## show the status of devcloud's services
	@go run ./hack/devcloud status

timeline: ## OF=destroy: run a target and draw a timeline of its steps into docs/contributing/timelines
	@mkdir -p docs/contributing/timelines && go run ./hack/timeline docs/contributing/timelines/$(OF).svg $(MAKE) --no-print-directory $(OF)

release: ## VERSION=0.1.0: build the programs of this repository that machines download, and their checksums, in dist/VERSION
	@go run ./hack/toolchain release '$(VERSION)' 'dist/$(VERSION)'

destroy: ## delete all resources of the stack from OpenStack
	@$(ENV) pulumi destroy --yes --skip-preview --stack $(STACK)

down: ## stop devcloud: removes all its processes, mounts, interfaces and loop devices; keeps its state for the next up
	@go run ./hack/devcloud down

# --- steps of the targets above

timed-%: # records wall, user and system seconds in a file of the folder TIMES
	@TIMEFORMAT='%0R %0U %0S'; { time $(MAKE) --no-print-directory $* 2>&3; } 3>&2 2>$(TIMES)/$*

lint: ## check the format, the code, the scripts, the spelling and the length of lines
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt -w the files above"; exit 1; }
	go vet -tags e2e ./... # no file is excluded by this tag
	$(LINTER) staticcheck -tags e2e ./...
	$(LINTER) revive -config revive.toml -set_exit_status ./...
	shellcheck $$($(SCRIPTS))
	for f in $$(git ls-files '*.sh.tmpl'); do sed 's/{{[^}]*}}/x/g' $$f | shellcheck -; done
	codespell $$(git ls-files)
	$(LINTER) actionlint .github/workflows/*.yml # examples/ci has its own test
	! LC_ALL=C.UTF-8 git grep -nE '^.{121}' -- '*.go' $$($(SCRIPTS))
	! LC_ALL=C.UTF-8 git grep -nE '^[^|#! ].{120}' -- '*.md' ':!*/testdata/*'

# With the default of 100, Go programs that start spend much of their time in garbage collection: the compiler, linters,
# tests, and the API servers and engines that tests start. The memory limit makes it collect more often when memory is
# short. toolchain uses the same values.
$(TESTS): export GOGC := 400
$(TESTS): export GOMEMLIMIT := 3GiB

screenshot: browser # draws the pictures of the documentation
	SCREENSHOT=$(CURDIR)/docs/fleet.png go test -count=1 -run '^TestScreenshot$$' ./internal/fleet

test-root: # lint runs vet. The longest packages start first. Tests mostly wait, so more of them run in parallel than there are processors
	$(GOTEST) -vet=off -p 3 -parallel 5 -timeout 40m ./templates ./tests ./...

test-plugins:
	cd hack/toolchain/plugins && $(GOTEST) ./...

test-kubernetes: # -count=1, because a test of another module writes its input
	cd hack/toolchain/kubernetes && $(AS_BUILT) $(GOTEST) -count=1 ./...

test-storage:
	cd hack/toolchain/storage && $(AS_BUILT) $(GOTEST) ./...

test-skydns:
	cd hack/toolchain/skydns && $(AS_BUILT) $(GOTEST) ./...

host: # enables huge pages, and installs Debian packages for devcloud and the tests, and npm if it is absent. devcloud reads the mirror from apt's lists
	@! grep -qs '\[madvise\]' $(HUGE_PAGES) || echo always >$(HUGE_PAGES)
	@$(call install,$$(cat hack/devcloud/host-packages) $$(type -P npm >/dev/null || echo npm))

browser: # installs Chromium for the tests of web pages
	@$(call install,chromium-headless-shell fonts-dejavu-core)

toolchain:
	@go run ./hack/toolchain $(FROM)

toolchain-all: # also builds the programs that only tests and benchmarks need
	@go run ./hack/toolchain all
	@for linter in staticcheck revive actionlint; do $(LINTER) -n $$linter >/dev/null; done

image: # also builds the files with which tests make it similar to CentOS
	@go run ./hack/devcloud image centos

official-image: # only tests boot it
	@go run ./hack/devcloud image official

cloud: # MIRROR names a folder of `make mirror`, from which machines download
	@go run ./hack/devcloud up $(if $(MIRROR),--mirror '$(MIRROR)')

pulumi-up:
	@$(ENV) pulumi stack select --create $(STACK) && go run ./cmd/resume -s $(STACK) && pulumi up --yes --skip-preview --stack $(STACK)

nodes: # `up` has waited until they are Ready
	@$(ENV) kubectl --kubeconfig <(pulumi stack output --stack $(STACK) --show-secrets kubeconfig) get nodes --output wide

pulumi-up preview mirror: $(addprefix Pulumi.,$(addsuffix .yaml,$(FROM)))

Pulumi.upstream.yaml: Pulumi.dev.yaml # without checksums, except for those of our own programs
	@sed -E '/^ +[a-z-]+: [0-9a-f]{64}$$/{/ (etcd-backup|etcd-join|keystone-webhook|machine-metrics|node-approver|tenant-sync):/!d}' $< >$@

sample: # ends when the sample is reachable
	@$(ENV) kubeconfig=$$(pulumi stack output --stack $(STACK) --show-secrets kubeconfig); \
	kubectl --kubeconfig <(echo "$$kubeconfig") apply --filename tests/testdata/hello.yaml; \
	kubectl --kubeconfig <(echo "$$kubeconfig") rollout status deployment/hello --timeout 120s
	@$(REACH_SAMPLE) --no-show-error --fail --max-time 5 --retry 60 --retry-delay 1 --retry-all-errors || \
		{ echo "sample: the router cannot connect to the Service hello by its name"; exit 1; }
