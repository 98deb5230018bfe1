package infra

import (
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/templates"
)

// inputs holds the values of a machine's user-data that only other resources provide.
type inputs struct {
	volumeID string
	// files are the contents of the machine's PKI files, in the order of the machine's PKI list.
	files []string
	// workerToken, controlPlaneToken and encryptionKey are secrets of 64 hexadecimal digits each.
	workerToken, controlPlaneToken, encryptionKey string
}

// render returns the machine's user-data, gzipped and in base64. It returns an error if the user-data is too
// large for Nova.
func render(plan cluster.Plan, m cluster.Machine, in inputs) (string, error) {
	out := templates.Machine{Hostname: m.ID, Role: string(m.Role)}
	for i, f := range m.PKI {
		file := templates.File{Path: f.Path, Content: in.files[i], Mode: 0o644}
		if f.Part == cluster.PartPrivateKey {
			file.Content, file.Mode = withoutPublicKey(file.Content), 0o600
		}
		out.Secrets = append(out.Secrets, file)
	}
	for _, a := range m.Artifacts {
		out.Artifacts = append(out.Artifacts, templates.Artifact{
			Name: a.Name, URL: a.URL, SHA256: a.SHA256, Directory: a.Directory, Members: a.Members,
		})
	}
	var err error
	switch m.Role {
	case cluster.RoleEtcd:
		out.Etcd = etcd(plan, m, in)
	case cluster.RoleControlPlane:
		out.Node = node(plan, m, bootstrapToken(in.controlPlaneToken))
		out.ControlPlane, err = controlPlane(plan, m, in)
	case cluster.RoleWorker:
		out.Node = node(plan, m, bootstrapToken(in.workerToken))
	}
	if err != nil {
		return "", err
	}
	return templates.UserData(out)
}

// withoutPublicKey returns a private key in PEM without its public key, because every reader computes the
// public key. This removes half of the bytes, which gzip cannot shorten. The function returns any text other
// than an EC key unchanged, such as a stand-in in a preview.
func withoutPublicKey(text string) string {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "EC PRIVATE KEY" {
		return text
	}
	var key struct { // ECPrivateKey of RFC 5915
		Version    int
		PrivateKey []byte
		Curve      asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
		PublicKey  asn1.BitString        `asn1:"explicit,tag:1,optional"`
	}
	if _, err := asn1.Unmarshal(block.Bytes, &key); err != nil {
		return text
	}
	key.PublicKey = asn1.BitString{}
	der, err := asn1.Marshal(key)
	if err != nil {
		return text
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}))
}

func etcd(plan cluster.Plan, m cluster.Machine, in inputs) *templates.Etcd {
	return &templates.Etcd{
		Name:           m.ID,
		Address:        m.Address.String(),
		VolumeID:       in.volumeID,
		InitialCluster: join(plan.WithRole(cluster.RoleEtcd), "%[1]s=https://%[2]s:%[3]d", cluster.EtcdPeerPort),
		Token:          plan.Name,
		Endpoints:      etcdURLs(plan),
	}
}

func etcdURLs(plan cluster.Plan) string {
	return join(plan.WithRole(cluster.RoleEtcd), "https://%[2]s:%[3]d", cluster.EtcdClientPort)
}

// join returns machines separated by commas. The arguments of format are the ID, the address and the port of
// a machine.
func join(machines []cluster.Machine, format string, port int) string {
	var list []string
	for _, m := range machines {
		list = append(list, fmt.Sprintf(format, m.ID, m.Address, port))
	}
	return strings.Join(list, ",")
}

func node(plan cluster.Plan, m cluster.Machine, token templates.BootstrapToken) *templates.Node {
	n := &templates.Node{
		Address:        m.Address.String(),
		Etcd:           join(plan.WithRole(cluster.RoleEtcd), "%[2]s:%[3]d", cluster.EtcdClientPort),
		PodCIDR:        plan.Network.PodCIDR.String(),
		DNSService:     plan.DNSService.String(),
		ProxyMode:      plan.Kubernetes.ProxyMode,
		PauseImage:     cluster.PauseImage,
		BootstrapToken: token.ID + "." + token.Secret,
		Devcloud:       plan.Devcloud,
		Calico: templates.Calico{
			Version:                 plan.Calico.Version,
			Address:                 m.Calico.Address.String(),
			Labels:                  m.Calico.Labels,
			RouteReflectorClusterID: m.Calico.RouteReflectorClusterID,
			Tunnels:                 plan.Calico.Encapsulation != cluster.NoEncapsulation,
		},
	}
	for _, server := range plan.WithRole(cluster.RoleControlPlane) {
		n.APIServers = append(n.APIServers, templates.Server{Name: server.ID, Address: server.Address.String()})
	}
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(m.Labels)) {
		labels = append(labels, key+"="+m.Labels[key])
	}
	n.Labels = strings.Join(labels, ",")
	for _, t := range m.Taints {
		n.Taints = append(n.Taints, templates.Taint{Key: t.Key, Value: t.Value, Effect: t.Effect})
	}
	for _, registry := range slices.Sorted(maps.Keys(plan.Artifacts.RegistryMirrors)) {
		n.RegistryMirrors = append(n.RegistryMirrors, templates.RegistryMirror{
			Registry: registry, URL: strings.TrimSuffix(plan.Artifacts.RegistryMirrors[registry], "/"),
		})
	}
	return n
}

func controlPlane(plan cluster.Plan, m cluster.Machine, in inputs) (*templates.ControlPlane, error) {
	key, err := hex.DecodeString(in.encryptionKey)
	if err != nil {
		return nil, err
	}
	c := &templates.ControlPlane{
		Etcd:              etcdURLs(plan),
		ServiceCIDR:       plan.Network.ServiceCIDR.String(),
		APIService:        plan.APIService.String(),
		EncryptionKey:     base64.StdEncoding.EncodeToString(key),
		NodePrefix:        plan.NodePrefix(),
		NodeCIDR:          plan.Network.CIDR.String(),
		Reserved:          strings.Join(texts(plan.Reserved()), ","),
		WorkerToken:       bootstrapToken(in.workerToken),
		ControlPlaneToken: bootstrapToken(in.controlPlaneToken),
		Calico:            calicoResources(plan),
	}
	if v := m.VirtualIP; v != nil {
		c.VirtualIP = &templates.VirtualIP{
			Address: plan.API.Address.String(), RouterID: v.RouterID, Priority: v.Priority,
		}
		for _, peer := range v.Peers {
			c.VirtualIP.Peers = append(c.VirtualIP.Peers, peer.String())
		}
	}
	if t := plan.Tenancy; t.Enabled {
		c.Tenancy = &templates.Tenancy{
			AuthURL: plan.OpenStack.AuthURL, CACertificate: strings.TrimSpace(plan.OpenStack.CACertificate),
			Interval: t.Interval.String(),
		}
	}
	return c, nil
}

// bootstrapToken builds a token from the first 22 digits of a derived secret.
func bootstrapToken(derived string) templates.BootstrapToken {
	return templates.BootstrapToken{ID: derived[:6], Secret: derived[6:22]}
}

func texts[T fmt.Stringer](list []T) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.String())
	}
	return out
}

// pemSize returns a lower bound, in bytes, for the PEM text of a part of the Plan. It is for previews, when
// no part exists yet. A certificate grows with its names, and a P-256 key has a constant size.
func pemSize(plan cluster.Plan, of string, part cluster.Part) int {
	switch part {
	case cluster.PartPrivateKey:
		return 140
	case cluster.PartPublicKey:
		return 200
	}
	names := 22 // the length of an authority's common name
	for _, c := range plan.Certificates {
		if c.Name == of {
			names = len(c.CommonName) + len(c.Organization) + len(strings.Join(c.DNSNames, "  ")) + 6*len(c.Addresses)
			if c.FloatingIP {
				names += 6
			}
		}
	}
	return 650 + 2*names
}

// CheckUserData renders user-data with stand-ins for the values that are unknown before `pulumi up`. So
// user-data that is too large for Nova fails at preview. The machines of a group differ only in their names,
// addresses and zones. If the user-data of the first machine fits with spare bytes for these differences, the
// user-data of all machines of the group fits. Otherwise CheckUserData renders each machine of the group, and
// returns an error for each that is too large.
func CheckUserData(plan cluster.Plan) error {
	random := rand.New(rand.NewPCG(0, 0)) // keys do not compress, so their stand-ins must not compress either
	bytes := func(n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = byte(random.Uint32())
		}
		return out
	}
	derived := func() string { return hex.EncodeToString(bytes(32)) }
	check := func(m cluster.Machine, spare int) error {
		in := inputs{
			volumeID:    "00000000-0000-0000-0000-000000000000",
			workerToken: derived(), controlPlaneToken: derived(), encryptionKey: derived(),
		}
		for i, f := range m.PKI {
			size := 0
			for _, of := range f.Of {
				size += pemSize(plan, of, f.Part)
			}
			if i == 0 {
				size += spare
			}
			in.files = append(in.files, base64.StdEncoding.EncodeToString(bytes(size*3/4)))
		}
		_, err := render(plan, m, in)
		return err
	}
	const spare = 1024 // a name and a zone have at most 63 characters each, and gzip shortens their repetitions
	var errs []error
	fits := map[string]bool{}
	for _, m := range plan.Machines {
		if _, known := fits[m.Group]; !known {
			fits[m.Group] = check(m, spare) == nil
		}
		if !fits[m.Group] {
			errs = append(errs, check(m, 0))
		}
	}
	return errors.Join(errs...)
}
