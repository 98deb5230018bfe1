// Command toolchain builds the programs and images of the development cluster from Go modules. This folder pins the
// versions and checksums of the modules. The results are pulumi with its Go language host, the plugins openstack, tls
// and kubernetes, the binaries that machines download, and the images that they pull.
//
//	go run ./hack/toolchain                 builds everything that a cluster needs and the cache does not contain
//	go run ./hack/toolchain all             also builds the programs that only tests and benchmarks need
//	go run ./hack/toolchain pulumi plugins  builds only these
//	go run ./hack/toolchain upstream        downloads all files that upstream publishes, and builds the rest
//	go run ./hack/toolchain env             prints exports for a shell that uses the built pulumi: eval "$(make env)"
//	go run ./hack/toolchain checksums       prints name, version and sha256 of each artifact that machines download
//	go run ./hack/toolchain release 0.1.0 dist/0.1.0  builds a release of our own programs in a folder
//
// It is for machines that can reach only a Go module proxy, Debian's packages and npm's packages. With an installed
// pulumi that can download its plugins, `pulumi up` needs nothing from here.
//
// Each folder beside this file is a separate Go module, because their requirements conflict. A module that several of
// them require has the same version in all, so it is compiled only once. TestModulesShareVersions lists the exceptions.
// The cache has one folder for each build, whose name contains a hash of all inputs. A result with a new hash replaces
// the old folder.
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
	selected, err := selectBuilds(args)
	if err != nil {
		return err
	}
	if fromUpstream {
		u, err := newUpstream(os.Getenv("UPSTREAM"), os.Getenv("UPSTREAM_SUMS"))
		if err != nil {
			return err
		}
		return u.ensureAll(selected, source, log)
	}
	// Builds do not run in parallel, because one build uses all processors and two linkers need twice the memory.
	for _, b := range selected {
		if err := b.ensure(source, log); err != nil {
			return err
		}
	}
	return nil
}

// selectBuilds returns the builds with these names. Without names, it returns the builds that a cluster needs. The name
// "all" means all builds.
func selectBuilds(names []string) ([]build, error) {
	if slices.Equal(names, []string{"all"}) {
		return builds, nil
	}
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(builds), func(b build) bool { return b.forTests }), nil
	}
	var selected []build
	for _, name := range names {
		i := slices.IndexFunc(builds, func(b build) bool { return b.name == name })
		if i < 0 {
			return nil, fmt.Errorf(
				"unknown argument %q: must be env, checksums, release VERSION FOLDER, upstream, all or names of builds (%s)",
				name, buildNames())
		}
		selected = append(selected, builds[i])
	}
	return selected, nil
}

// buildNames returns a list of all builds for an error message.
func buildNames() string {
	var names []string
	for _, b := range builds {
		names = append(names, b.name)
	}
	return strings.Join(names, ", ")
}

// sourceDir returns the folder of this file. The command may run in any folder of the repository.
func sourceDir() (string, error) {
	cmd := exec.Command("go", "list", "-f", "{{.Dir}}", "kubernetes-openstack/hack/toolchain")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find hack/toolchain: run this command in a folder of the repository: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
