// Package debian builds root filesystems from Debian 12's packages. The packages come from the mirror that the host's
// apt uses. The input is a recipe, which is a folder with
//
//	packages   Debian packages, one per line, with # comments
//	files/     a tree that is copied into the root filesystem (optional)
//	customize  a shell script that runs last and gets the path of the root filesystem
package debian

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Command returns the command that installs the packages, without their names and without paths. It contains all inputs
// of a root filesystem except for the recipe and the mirror's current packages. variant is mmdebstrap's variant, which
// selects the basic packages. The command runs in its own process namespace and mount namespace, which end with it.
func Command(variant string) []string {
	return []string{
		"unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"mmdebstrap", "--mode=root", "--variant=" + variant,
		"--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\"",
		"--dpkgopt=force-unsafe-io",
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/info/*",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		// A third of OpenStack's Python files are tests, which this excludes. py3compile must skip them, too, because it
		// fails for files that dpkg leaves out.
		"--dpkgopt=path-exclude=/usr/lib/python3/dist-packages/*/tests/*",
		`--essential-hook=mkdir -p "$1/usr/share/python3/bcep" && echo "re|-4.0|/|.*/tests/" ` +
			`>"$1/usr/share/python3/bcep/tests"`,
	}
}

// Make builds the root filesystem root from a recipe and more packages. customize gets arguments after the path of the
// root filesystem. output gets the output of the commands. Make must run as root. It writes a file apt.conf beside the
// root filesystem.
func Make(ctx context.Context, root, variant, recipe string, more []string, output io.Writer,
	arguments ...string) error {
	packages, err := packages(filepath.Join(recipe, "packages"))
	if err != nil {
		return err
	}
	sources, options, err := hostApt(ctx)
	if err != nil {
		return err
	}
	conf := filepath.Join(filepath.Dir(root), "apt.conf")
	if err := os.WriteFile(conf, options, 0o644); err != nil {
		return err
	}
	err = Run(ctx, sources, output, append(Command(variant),
		"--include="+strings.Join(append(packages, more...), ","), "--aptopt="+conf, "bookworm", root, "-")...)
	if err != nil {
		return err
	}
	files := filepath.Join(recipe, "files")
	if _, err := os.Stat(files); err == nil {
		if err := Run(ctx, "", output, "cp", "-r", files+"/.", root); err != nil {
			return err
		}
	}
	return Run(ctx, "", output, append([]string{"sh", filepath.Join(recipe, "customize"), root}, arguments...)...)
}

// LayerScript is the script of Layer.
//
//go:embed layer.sh
var LayerScript string

// Layer installs a recipe's packages in a copy-on-write view of the squashfs image, and writes the new files to the
// squashfs layer. An overlay mount of both is a root filesystem. Layer must run as root. It writes files into the
// recipe.
func Layer(ctx context.Context, image, layer, recipe string, output io.Writer) error {
	packages, err := packages(filepath.Join(recipe, "packages"))
	if err != nil {
		return err
	}
	sources, options, err := hostApt(ctx)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"sources.list": []byte(sources), "apt.conf": options} {
		if err := os.WriteFile(filepath.Join(recipe, name), content, 0o644); err != nil {
			return err
		}
	}
	command := []string{"unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "sh", "-c",
		LayerScript, "layer", image, layer, recipe}
	return Run(ctx, "", output, append(command, packages...)...)
}

// Run runs a command, which is killed when this process ends. output gets its output.
func Run(ctx context.Context, stdin string, output io.Writer, command ...string) error {
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), output, output
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(command[0]), err)
	}
	return nil
}

// packages returns the packages in a recipe's file.
func packages(path string) ([]string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var packages []string
	for line := range strings.Lines(string(content)) {
		line, _, _ := strings.Cut(line, "#")
		packages = append(packages, strings.Fields(line)...)
	}
	return packages, nil
}

// hostApt returns the host's apt sources of Debian 12 as lines of a sources.list, and the apt options that the mirror
// may need.
func hostApt(ctx context.Context) (sources string, options []byte, err error) {
	targets, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
		"Created-By: Packages", "Origin: Debian").Output()
	if err != nil {
		return "", nil, fmt.Errorf("apt-get indextargets: %w", err)
	}
	for _, target := range strings.Split(string(targets), "\n") {
		if _, suite, _ := strings.Cut(target, " "); strings.HasPrefix(suite, "bookworm") {
			sources += "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " + target + "\n"
		}
	}
	if sources == "" {
		return "", nil,
			fmt.Errorf("apt must have a source of Debian 12 (bookworm) in its package lists: run apt-get update")
	}
	options, err = exec.CommandContext(ctx, "apt-config", "dump",
		"Acquire::http", "Acquire::https", "Acquire::Check-Date", "Acquire::Check-Valid-Until").Output()
	if err != nil {
		return "", nil, fmt.Errorf("apt-config dump: %w", err)
	}
	return sources, options, nil
}
