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

// cloudConfig is the subset of cloud-init's format that we use. The package marshals it and never
// concatenates text, because cloud-init ignores a badly indented key in a block of text without an error.
type cloudConfig struct {
	settings
	writeFiles
}

type settings struct {
	Hostname         string     `json:"hostname"`
	FQDN             string     `json:"fqdn"` // otherwise CentOS uses the name from the cloud, with its domain
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

// CloudConfig returns the machine's whole user-data in cloud-init's format: "#cloud-config" and YAML, with
// the settings before the files. Its only command starts first-boot under systemd, and first-boot does the
// rest. CloudConfig returns an error if a template fails or m is invalid.
func CloudConfig(m Machine) ([]byte, error) {
	shared, own := m.marked()
	files, err := shared.cachedFiles()
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", m.Hostname, err)
	}
	config := settings{Hostname: m.Hostname, FQDN: m.Hostname, ManageEtcHosts: "localhost"}
	// cloud-init runs bootcmd at every boot and before write_files. systemd reaches cloud-config.target after
	// both. runcmd would run two of cloud-init's stages later, after all other services of the image.
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

// marked returns m with marks instead of the values that differ within a pool, and a replacer from marks to
// values. No template has conditions on these values.
func (m Machine) marked() (Machine, *strings.Replacer) {
	var own []string
	mark := func(value *string, mark string) {
		if *value != "" { // an empty value must stay empty, so that a template that uses it fails
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

// renderedFiles holds the files of a machine in cloud-init's format, and the names of the units to enable.
type renderedFiles struct {
	text  string
	units []string
}

// pools caches the results of renderFiles. The key contains all inputs. The machines of a pool have the same inputs
// apart from the marks.
var pools sync.Map

func (m Machine) cachedFiles() (renderedFiles, error) {
	key, err := json.Marshal(m)
	if err != nil {
		return renderedFiles{}, err
	}
	once, _ := pools.LoadOrStore(string(key), sync.OnceValues(m.renderFiles))
	return once.(func() (renderedFiles, error))()
}

func (m Machine) renderFiles() (renderedFiles, error) {
	files, err := m.files()
	if err != nil {
		return renderedFiles{}, err
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
	return renderedFiles{string(text), units}, err
}

// kind sorts files into scripts, units and other files. gzip finds only repetitions within 32 KiB, and files
// of the same kind repeat each other.
func kind(f File) int {
	switch {
	case strings.HasPrefix(f.Content, "#!"):
		return 0
	case strings.HasPrefix(f.Path, "/etc/systemd/"):
		return 1
	}
	return 2
}
