// Command toolchain builds, from Go modules whose versions and checksums are committed here, what the development
// cluster runs and is made with: pulumi with its Go language host, the OpenStack, TLS and Kubernetes plugins, the
// binaries that the machines download, and the images that they pull.
//
//	go run ./hack/toolchain                 builds what a cluster needs and is missing
//	go run ./hack/toolchain all             builds what only tests and benchmarks need, too
//	go run ./hack/toolchain pulumi plugins  builds these only
//	go run ./hack/toolchain upstream        downloads what upstream publishes, and builds what is missing then
//	go run ./hack/toolchain env             prints the shell's exports for the built pulumi: eval "$(make env)"
//	go run ./hack/toolchain checksums       prints name, version and sha256 of each artifact that machines download
//	go run ./hack/toolchain release 0.1.0 dist/0.1.0  builds a release of our own programs in a folder
//
// It exists for machines that reach a Go module proxy and nothing else. Where pulumi is installed and can fetch its
// plugins, plain `pulumi up` works and nothing here is needed.
//
// Each folder beside this file is a Go module of its own, because what it pins could not be resolved together.
// What several of them need has one version in all where it compiles, so that it is compiled once
// (TestModulesShareVersions). What is built lies in the cache, one folder per build, keyed by all that goes
// into it; a new key replaces the old one's folder.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"kubernetes-openstack/internal/progress"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "toolchain:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if slices.Equal(args, []string{"env"}) {
		return printEnv(os.Stdout)
	}
	source, err := sourceDir()
	if err != nil {
		return err
	}
	log := progress.New(os.Stderr, "toolchain")
	if slices.Equal(args, []string{"checksums"}) {
		return printChecksums(os.Stdout, source, log)
	}
	if len(args) == 3 && args[0] == "release" {
		return makeRelease(args[1], args[2], source, log)
	}
	fromUpstream := len(args) > 0 && args[0] == "upstream"
	if fromUpstream {
		args = args[1:]
	}
	chosen, err := choose(args)
	if err != nil {
		return err
	}
	if fromUpstream {
		u, err := newUpstream(os.Getenv("UPSTREAM"), os.Getenv("UPSTREAM_SUMS"))
		if err != nil {
			return err
		}
		return u.ensureAll(chosen, source, log)
	}
	// One after the other: a build keeps all processors busy by itself, and linking two at a time doubles the memory.
	for _, b := range chosen {
		if err := b.ensure(source, log); err != nil {
			return err
		}
	}
	return nil
}

// choose is the builds of these names, all of them for "all", and what a cluster needs for no name.
func choose(names []string) ([]build, error) {
	if slices.Equal(names, []string{"all"}) {
		return builds, nil
	}
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(builds), func(b build) bool { return b.forTests }), nil
	}
	var chosen []build
	for _, name := range names {
		i := slices.IndexFunc(builds, func(b build) bool { return b.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown argument %q: want env, checksums, release, upstream, all or builds (%s)",
				name, buildNames())
		}
		chosen = append(chosen, builds[i])
	}
	return chosen, nil
}

func buildNames() string {
	var names []string
	for _, b := range builds {
		names = append(names, b.name)
	}
	return strings.Join(names, ", ")
}

// sourceDir is the folder of this file, whichever of the repository's folders the command is started in.
func sourceDir() (string, error) {
	cmd := exec.Command("go", "list", "-f", "{{.Dir}}", "kubernetes-openstack/hack/toolchain")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the sources (is this the repository?): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
