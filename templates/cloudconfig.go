package templates

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"
)

// cloudConfig is the part of cloud-init's format that we use. It is marshalled, never pasted together: a badly indented
// key in a block of text is refused by cloud-init without anybody noticing.
type cloudConfig struct {
	settings
	writeFiles
}

type settings struct {
	Hostname         string     `json:"hostname"`
	FQDN             string     `json:"fqdn"` // else CentOS takes the cloud's, with its domain
	PreserveHostname bool       `json:"preserve_hostname"`
	ManageEtcHosts   string     `json:"manage_etc_hosts"` // localhost: adds the machine's own name, keeps the rest
	BootCmd          [][]string `json:"bootcmd"`
}

type writeFiles struct {
	WriteFiles []writeFile `json:"write_files"`
}

type writeFile struct {
	Path        string `json:"path"`
	Permissions string `json:"permissions,omitempty"` // cloud-init's default is 0644
	Content     string `json:"content"`
}

// CloudConfig is the machine's whole user-data as cloud-init reads it: "#cloud-config" and YAML, the settings before
// the files. Its one command has systemd run first-boot, which takes over.
func CloudConfig(m Machine) ([]byte, error) {
	shared, own := m.marked()
	files, err := shared.written()
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", m.Hostname, err)
	}
	config := settings{Hostname: m.Hostname, FQDN: m.Hostname, ManageEtcHosts: "localhost"}
	// cloud-init runs bootcmd at every boot and before write_files; systemd reaches cloud-config.target after both. runcmd
	// would be two of cloud-init's stages later, and after all other services of the image.
	config.BootCmd = [][]string{append([]string{
		"systemd-run", "--no-block", "--unit=first-boot", "--property=After=cloud-config.target", "sh",
		"/usr/local/sbin/first-boot",
	}, files.units...)}
	text, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", m.Hostname, err)
	}
	return slices.Concat([]byte("#cloud-config\n"), text, []byte(own.Replace(files.text))), nil
}

// marked is m with marks in the place of the values that differ within a pool, and the replacer of
// the marks. No template decides by these values.
func (m Machine) marked() (Machine, *strings.Replacer) {
	var own []string
	mark := func(value *string, mark string) {
		if *value != "" { // else the template that uses it would not fail
			own = append(own, mark, *value)
			*value = mark
		}
	}
	mark(&m.Hostname, "@hostname@")
	if m.Node != nil {
		node := *m.Node
		mark(&node.Address, "@address@")
		mark(&node.Calico.Address, "@calico-address@")
		m.Node = &node
	}
	return m, strings.NewReplacer(own...)
}

// written is the files of a machine in cloud-init's format, and the units among them.
type written struct {
	text  string
	units []string
}

// pools caches results of write by all that they are made of: the machines of a pool have the same, but for the marks.
var pools sync.Map

func (m Machine) written() (written, error) {
	key, err := json.Marshal([]any{m, m.Secrets})
	if err != nil {
		return written{}, err
	}
	once, _ := pools.LoadOrStore(string(key), sync.OnceValues(m.write))
	return once.(func() (written, error))()
}

func (m Machine) write() (written, error) {
	files, err := m.files()
	if err != nil {
		return written{}, err
	}
	var config writeFiles
	var units []string
	for _, f := range slices.SortedStableFunc(slices.Values(files), func(a, b File) int { return kind(a) - kind(b) }) {
		file := writeFile{Path: f.Path, Content: f.Content}
		if f.Mode.Perm() != 0o644 {
			file.Permissions = fmt.Sprintf("%04o", f.Mode.Perm())
		}
		config.WriteFiles = append(config.WriteFiles, file)
		if path.Dir(f.Path) == "/etc/systemd/system" && strings.Contains(f.Content, "\n[Install]\n") {
			units = append(units, path.Base(f.Path))
		}
	}
	text, err := yaml.Marshal(config)
	return written{string(text), units}, err
}

// kind orders files: scripts, units, the rest. gzip finds a repetition within 32
// KiB only, and files of a kind repeat each other.
func kind(f File) int {
	switch {
	case strings.HasPrefix(f.Content, "#!"):
		return 0
	case strings.HasPrefix(f.Path, "/etc/systemd/"):
		return 1
	}
	return 2
}
