package templates

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// cloudConfig is the part of cloud-init's format that we use. It is marshalled, never pasted together: a badly indented
// key in a block of text is refused by cloud-init without anybody noticing.
type cloudConfig struct {
	Hostname         string      `json:"hostname"`
	FQDN             string      `json:"fqdn"` // else CentOS takes the cloud's, with its domain
	PreserveHostname bool        `json:"preserve_hostname"`
	ManageEtcHosts   string      `json:"manage_etc_hosts"` // localhost: adds the machine's own name, keeps the rest
	WriteFiles       []writeFile `json:"write_files"`
	BootCmd          [][]string  `json:"bootcmd"`
}

type writeFile struct {
	Path        string `json:"path"`
	Permissions string `json:"permissions,omitempty"` // cloud-init's default is 0644
	Content     string `json:"content"`
}

// CloudConfig is the machine's whole user-data as cloud-init reads it: "#cloud-config" and YAML.
// Its one command has systemd run first-boot, which takes over.
func CloudConfig(m Machine) ([]byte, error) {
	files, err := m.files()
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", m.Hostname, err)
	}
	config := cloudConfig{Hostname: m.Hostname, FQDN: m.Hostname, ManageEtcHosts: "localhost"}
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
	// cloud-init runs bootcmd at every boot and before write_files; systemd reaches cloud-config.target after both. runcmd
	// would be two of cloud-init's stages later, and after all other services of the image.
	config.BootCmd = [][]string{append([]string{
		"systemd-run", "--no-block", "--unit=first-boot", "--property=After=cloud-config.target", "sh",
		"/usr/local/sbin/first-boot",
	}, units...)}
	text, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", m.Hostname, err)
	}
	return append([]byte("#cloud-config\n"), text...), nil
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
