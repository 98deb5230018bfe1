package templates

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
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
	// SSHAuthorizedKeys are keys of the image's default user.
	SSHAuthorizedKeys []string `json:"ssh_authorized_keys,omitempty"`
}

type writeFiles struct {
	WriteFiles []writeFile `json:"write_files"`
}

type writeFile struct {
	Path        string `json:"path"`
	Permissions string `json:"permissions,omitempty"` // cloud-init's default is 0644
	Content     string `json:"content"`
}

// Renderer renders the user-data of the machines of one Plan.
type Renderer struct {
	plan cluster.Plan
	// pools caches the results of renderFiles. The key contains all values except the Plan. The machines of a
	// pool have the same values apart from the marks.
	pools sync.Map
}

// NewRenderer returns a Renderer for the machines of plan.
func NewRenderer(plan cluster.Plan) *Renderer { return &Renderer{plan: plan} }

// CloudConfig returns the machine's whole user-data in cloud-init's format: "#cloud-config" and YAML, with
// the settings before the files. Its last command starts first-boot under systemd, and first-boot does the
// rest. CloudConfig returns an error if a template fails or a value is invalid.
func (r *Renderer) CloudConfig(m cluster.Machine, in Inputs) ([]byte, error) {
	shared, own := values{r.plan, m, in}.marked()
	files, err := r.cachedFiles(shared)
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", m.ID, err)
	}
	config := settings{Hostname: m.ID, FQDN: m.ID, ManageEtcHosts: "localhost"}
	if key := strings.TrimSpace(in.SSHKey); key != "" {
		config.SSHAuthorizedKeys = []string{key}
	}
	// cloud-init runs bootcmd at every boot and before write_files. systemd reaches cloud-config.target after
	// both. runcmd would run two of cloud-init's stages later, after all other services of the image.
	config.BootCmd = [][]string{
		{"sh", "-c", writeAgain},
		append([]string{
			"systemd-run", "--no-block", "--unit=first-boot", "--property=After=cloud-config.target", "sh",
			"/usr/local/sbin/first-boot",
		}, files.units...),
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("user-data of %s: %w", m.ID, err)
	}
	return slices.Concat([]byte("#cloud-config\n"), text, []byte(own.Replace(files.text))), nil
}

// writeAgain lets cloud-init write its files again, until first-boot has synced them: ours, the keys of the SSH
// server, the users. cloud-init does not sync its files, and it writes them only once, so a power failure would
// leave empty files forever.
const writeAgain = "[ -e /var/lib/cloud/instance/files-synced ] || rm -rf /var/lib/cloud/instance/sem"

// nameMark, addressMark and seedMark stand for a machine's name, address and seed in the files that its pool shares. No
// Plan contains them: all its addresses are IPv4, and the range of addressMark is only for documentation. All are plain
// in YAML, so they get no quotes.
const nameMark, seedMark = "hostname@", "seed@"

var addressMark = netip.MustParseAddr("2001:db8::1")

// marked returns v with marks instead of the values that differ within a pool, and a replacer from marks to
// values. No template has conditions on these values.
func (v values) marked() (values, *strings.Replacer) {
	var own []string
	address := v.Address
	if v.ID != "" { // a value that is not set must stay so, because a template that prints it must fail
		own = append(own, nameMark, v.ID)
		v.ID = nameMark
	}
	if address.IsValid() {
		own = append(own, addressMark.String(), address.String())
		v.Address = addressMark
	}
	if v.Inputs.BootstrapSeed != "" {
		own = append(own, seedMark, string(v.Inputs.BootstrapSeed))
		v.Inputs.BootstrapSeed = seedMark
	}
	if v.Calico != nil && v.Calico.Address.Addr() == address {
		calico := *v.Calico
		calico.Address = netip.PrefixFrom(v.Address, calico.Address.Bits())
		v.Calico = &calico
	}
	v.Index, v.ServerGroup = 0, "" // no template uses them
	return v, strings.NewReplacer(own...)
}

// renderedFiles holds the files of a machine in cloud-init's format, and the names of the units to enable.
type renderedFiles struct {
	text  string
	units []string
}

func (r *Renderer) cachedFiles(v values) (renderedFiles, error) {
	key, err := json.Marshal([]any{v.Machine, v.Inputs})
	if err != nil {
		return renderedFiles{}, err
	}
	once, _ := r.pools.LoadOrStore(string(key), sync.OnceValues(v.renderFiles))
	return once.(func() (renderedFiles, error))()
}

func (v values) renderFiles() (renderedFiles, error) {
	files, err := v.files()
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
