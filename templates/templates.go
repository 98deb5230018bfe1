// Package templates holds what each machine runs, one folder per system, each a tree of literal files as they land on the
// machine; and renders a machine's user-data from them. It is pure: plain values in, text out.
//
// The path in the tree is the path on the machine. A file that ends in .tmpl is a text/template of the Machine and lands
// without that suffix; every other file is copied byte for byte. Files under bin and sbin are executable. Every unit in a
// tree is enabled and started.
package templates

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"text/template"
)

//go:embed base artifacts etcd
var systems embed.FS

// Machine is what one machine's user-data is rendered from. The tags let a template that uses an empty value fail.
type Machine struct {
	Hostname  string     `json:",omitempty"` // as Kubernetes will know it: dev-etcd-0
	Role      string     `json:",omitempty"` // etcd, control-plane or worker
	Secrets   []File     `json:"-"`          // certificates and keys
	Artifacts []Artifact `json:",omitempty"` // downloaded, verified and installed before the machine's services start
	Etcd      *Etcd      `json:",omitempty"` // set on etcd machines only
}

// File is a file as it lands on the machine, owned by root.
type File struct {
	Path    string // absolute
	Content string
	Mode    fs.FileMode // permission bits only
}

// Artifact is an archive (anything that tar unpacks) of binaries.
type Artifact struct {
	Name    string   `json:",omitempty"` // etcd
	URL     string   `json:",omitempty"` // http or https
	SHA256  string   `json:",omitempty"` // of the archive, 64 hexadecimal digits
	Install []string `json:",omitempty"` // members, as the archive names them, that go into /usr/local/bin by their base name
}

// Etcd is one member of the etcd cluster.
type Etcd struct {
	Name           string `json:",omitempty"` // the member's name in InitialCluster
	Address        string `json:",omitempty"` // the machine's own IPv4 address
	VolumeID       string `json:",omitempty"` // the Cinder volume that keeps the data
	InitialCluster string `json:",omitempty"` // name=https://ip:2380,…
	Token          string `json:",omitempty"` // unique to the cluster: members of another refuse to talk
	Endpoints      string `json:",omitempty"` // https://ip:2379,…
}

// files is everything that the machine gets: its systems' trees, in order, and its secrets. An error names the file.
func (m Machine) files() ([]File, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	names := []string{"base"}
	if len(m.Artifacts) > 0 {
		names = append(names, "artifacts")
	}
	if m.Etcd != nil {
		names = append(names, "etcd")
	}
	var files []File
	for _, name := range names {
		tree, err := render(systems, name, m)
		if err != nil {
			return nil, err
		}
		files = append(files, tree...)
	}
	files = append(files, m.Secrets...)

	seen := map[string]bool{}
	for _, f := range files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path {
			return nil, fmt.Errorf("%q is not an absolute, clean path", f.Path)
		}
		if seen[f.Path] {
			return nil, fmt.Errorf("%s is written twice", f.Path)
		}
		seen[f.Path] = true
	}
	return files, nil
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check refuses what would be torn apart in artifacts.list, whose fields are separated by blanks.
func (m Machine) check() error {
	if m.Hostname == "" {
		return fmt.Errorf("machine without a hostname")
	}
	for _, a := range m.Artifacts {
		if !sha256Hex.MatchString(a.SHA256) {
			return fmt.Errorf("artifact %s: %q is not a sha256 in hexadecimal", a.Name, a.SHA256)
		}
		for _, field := range append([]string{a.Name, a.URL}, a.Install...) {
			if len(strings.Fields(field)) != 1 || strings.ContainsAny(field, " \t\n") {
				return fmt.Errorf("artifact %s: %q is not one word", a.Name, field)
			}
		}
	}
	return nil
}

// render walks the tree called system in from.
func render(from fs.FS, system string, m Machine) ([]File, error) {
	values, err := m.values()
	if err != nil {
		return nil, err
	}
	var files []File
	err = fs.WalkDir(from, system, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		target, isTemplate := strings.CutSuffix(strings.TrimPrefix(name, system), ".tmpl")
		if isTemplate {
			if content, err = execute(name, content, values); err != nil {
				return err
			}
		}
		files = append(files, File{Path: target, Content: string(content), Mode: mode(target)})
		return nil
	})
	return files, err
}

func execute(name string, content []byte, values map[string]any) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(string(content))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, values)
	return out.Bytes(), err
}

// values is m as nested maps that lack what is empty, so that missingkey=error finds a value that nobody set.
func (m Machine) values() (map[string]any, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	var values map[string]any
	return values, json.Unmarshal(text, &values)
}

func mode(target string) fs.FileMode {
	switch path.Base(path.Dir(target)) {
	case "bin", "sbin":
		return 0o755
	}
	return 0o644
}
