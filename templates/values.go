package templates

import (
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/bootstraptoken"
)

// Inputs holds the values of a machine's user-data that are not in the Plan, because only other resources
// provide them.
type Inputs struct {
	// VolumeID is the Cinder volume that keeps the data of an etcd member.
	VolumeID string
	// PKI has the contents of the machine's PKI files, in the order of cluster.Machine.PKI.
	PKI []string
	// BootstrapSeed is the secret from which each instance of a node computes its bootstrap token.
	BootstrapSeed bootstraptoken.Seed
	// EncryptionKey is 32 bytes in hexadecimal digits.
	EncryptionKey string
	// BackupID and BackupSecret are the application credential with which etcd machines write snapshots to object storage.
	BackupID, BackupSecret string
	// SSHKey is the public key of the operators. It is empty if Nova has a key pair.
	SSHKey string
}

// values are the values of the templates: the Plan, one machine of it, and the machine's inputs.
type values struct {
	Plan cluster.Plan
	cluster.Machine
	Inputs Inputs
}

// NodeLabels returns the labels that kubelet sets on its own Node: key=value,…
func (v values) NodeLabels() string {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(v.Labels)) {
		labels = append(labels, key+"="+v.Labels[key])
	}
	return strings.Join(labels, ",")
}

// curlQuotes escapes the characters with a meaning in a quoted value of curl's configuration.
var curlQuotes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// CurlUser returns the credentials of the mirror as a quoted value of curl's configuration.
func (v values) CurlUser() string {
	a := v.Plan.Artifacts
	return `"` + curlQuotes.Replace(a.Username+":"+string(a.Password)) + `"`
}

// EncryptionKey returns the key with which the API server encrypts Secrets in etcd, in base64.
func (v values) EncryptionKey() (string, error) {
	key, err := hex.DecodeString(v.Inputs.EncryptionKey)
	return base64.StdEncoding.EncodeToString(key), err
}

// registryMirror has the values of the templates in a folder {registry}. URL is the server from which nodes
// pull the registry's images, instead of from the registry itself.
type registryMirror struct{ Registry, URL string }

// registryMirrors returns all mirrors, sorted by registry.
func (v values) registryMirrors() []registryMirror {
	var mirrors []registryMirror
	for _, registry := range slices.Sorted(maps.Keys(v.Plan.Artifacts.RegistryMirrors)) {
		url := strings.TrimSuffix(v.Plan.Artifacts.RegistryMirrors[registry], "/")
		mirrors = append(mirrors, registryMirror{registry, url})
	}
	return mirrors
}
