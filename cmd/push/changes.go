package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// file is a file that cloud-init writes.
type file struct {
	Path        string `json:"path"`
	Permissions string `json:"permissions"`
	Content     string `json:"content"`
}

// files decodes the files of user-data, and returns them by path.
func files(userData []byte) (map[string]file, error) {
	zipped, err := gzip.NewReader(bytes.NewReader(userData))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(zipped)
	if err != nil {
		return nil, err
	}
	var config struct {
		WriteFiles []file `json:"write_files"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	all := map[string]file{}
	for _, f := range config.WriteFiles {
		all[f.Path] = f
	}
	return all, nil
}

// changes lists the changes to a machine, in the order in which push makes them. Files and units are sorted
// by name.
type changes struct {
	// disable are the units to disable, and remove are the files to delete, because the templates no longer
	// contain them.
	disable, remove []string
	write           []file
	// enable are units that must start at boot.
	enable []string
	// restart are enabled units. tryRestart are units that other units start.
	restart, tryRestart []string
	// atStop are units whose ExecStop drains or withdraws something. push does not restart them. They use the
	// new files when they stop.
	atStop []string
}

func (c changes) empty() bool { return len(c.write)+len(c.remove) == 0 }

const units = "/etc/systemd/system"

// readers maps files whose path is in no other file to the unit that reads them.
var readers = map[string]string{
	"/etc/containerd/config.toml":                  "containerd.service",
	"/etc/modules-load.d/kubernetes.conf":          "systemd-modules-load.service",
	"/etc/sysctl.d/90-kubernetes.conf":             "systemd-sysctl.service",
	"/etc/systemd/journald.conf.d/kubernetes.conf": "systemd-journald.service",
}

// compare returns the changes from one user-data's files to another's. A unit uses a file if the unit names
// it, or if another file that the unit uses names it.
func compare(before, after map[string]file) changes {
	var c changes
	for _, p := range slices.Sorted(maps.Keys(before)) {
		if _, kept := after[p]; !kept {
			c.remove = append(c.remove, p)
			if path.Dir(p) == units {
				c.disable = append(c.disable, path.Base(p))
			}
		}
	}
	used := map[string]bool{}
	for _, p := range slices.Sorted(maps.Keys(after)) {
		if before[p] != after[p] {
			c.write = append(c.write, after[p])
			markUsers(after, p, used)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(used)) {
		dropIn, isDropIn := strings.CutSuffix(path.Dir(p), ".d")
		text, unit := after[p].Content, path.Base(p)
		switch {
		case readers[p] != "":
			c.tryRestart = append(c.tryRestart, readers[p])
		case isDropIn && path.Dir(dropIn) == units:
			c.tryRestart = append(c.tryRestart, path.Base(dropIn))
		case path.Dir(p) != units:
		case !strings.Contains(text, "\n[Install]\n"):
			c.tryRestart = append(c.tryRestart, unit)
		default:
			if before[p] != after[p] {
				c.enable = append(c.enable, unit)
			}
			if strings.Contains(text, "\nType=oneshot\n") && strings.Contains(text, "\nExecStop=") {
				c.atStop = append(c.atStop, unit)
			} else {
				c.restart = append(c.restart, unit)
			}
		}
	}
	return c
}

// markUsers adds p and all files that use it to used.
func markUsers(all map[string]file, p string, used map[string]bool) {
	if used[p] {
		return
	}
	used[p] = true
	match := mentions(p)
	for _, f := range all {
		if match(f.Content) {
			markUsers(all, f.Path, used)
		}
	}
}

// mentions returns a function that finds texts which name the file p: by its path, by its name if p is a program, or
// by its folder.
func mentions(p string) func(text string) bool {
	const end = `/?(?:[^\w./-]|$)`
	folder, name := path.Split(p)
	expression, part := regexp.QuoteMeta(p)+end, p // part is in each text that matches
	switch {
	case strings.HasSuffix(folder, "bin/"):
		expression += `|(?:^|[^\w./-])` + regexp.QuoteMeta(name) + `(?:[^\w.:/-]|$)`
		part = name
	case !strings.HasPrefix(p, units):
		part = path.Clean(folder)
		expression += `|` + regexp.QuoteMeta(part) + end
	}
	pattern := regexp.MustCompile(`(?m)` + expression)
	return func(text string) bool { return strings.Contains(text, part) && pattern.MatchString(text) }
}

// String returns one line for each change.
func (c changes) String() string {
	var out strings.Builder
	for _, f := range c.write {
		fmt.Fprintln(&out, "write", f.Path)
	}
	for _, list := range []struct {
		verb  string
		names []string
	}{
		{"remove", c.remove}, {"restart", c.restart}, {"restart if running:", c.tryRestart},
		{"used at the next stop:", c.atStop},
	} {
		for _, name := range list.names {
			fmt.Fprintln(&out, list.verb, name)
		}
	}
	return out.String()
}

// script returns a shell script that makes the changes on a machine. Its standard input is the output of
// pack.
func (c changes) script() string {
	var steps []string
	each := func(command string, names []string) {
		if len(names) > 0 {
			steps = append(steps, command+" "+strings.Join(names, " "))
		}
	}
	each("systemctl disable --quiet --now", c.disable)
	each("rm -f", c.remove)
	steps = append(steps, "tar --extract --no-same-owner --directory /", "systemctl daemon-reload")
	each("systemctl enable --quiet", c.enable)
	each("systemctl restart", c.restart)
	each("systemctl try-restart", c.tryRestart)
	return strings.Join(steps, " && ")
}

// pack returns a tar archive of files.
func pack(files []file) ([]byte, error) {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, f := range files {
		mode, err := strconv.ParseInt(cmp.Or(f.Permissions, "0644"), 8, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		header := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Mode: mode, Size: int64(len(f.Content)),
			ModTime: time.Now()}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(archive, f.Content); err != nil {
			return nil, err
		}
	}
	err := archive.Close()
	return out.Bytes(), err
}
