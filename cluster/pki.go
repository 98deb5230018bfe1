package cluster

import "net/netip"

// Authority is a certificate authority. No key but NodeCA's leaves the stack's state.
type Authority struct{ Name, CommonName string }

// Key is a key pair without a certificate: it signs, or other secrets are derived from it.
type Key struct{ Name string }

// Certificate is a leaf, with a key of its own.
type Certificate struct {
	// Name in the stack; Authority is the name of the one that signs.
	Name, Authority string
	CommonName      string
	// Organization is the Kubernetes group; empty for none.
	Organization string
	DNSNames     []string
	Addresses    []netip.Addr
	// FloatingIP adds the API's floating IP, known only once it exists, to Addresses.
	FloatingIP     bool
	Server, Client bool
}

// Part of an Authority, a Key or a Certificate.
type Part string

// The parts.
const (
	PartCertificate Part = "certificate"
	PartPrivateKey  Part = "private key"
	PartPublicKey   Part = "public key"
)

// PKIFile is one part, by the names of what it belongs to, as a file on a machine: several are one after the other.
type PKIFile struct {
	Path string
	Of   []string
	Part Part
}

// Names of the authorities and of the administrators' certificate.
const (
	KubernetesCA = "kubernetes-ca"
	// NodeCA signs kubelets' certificates and nothing else. Its key is on the control planes, whose controller-manager
	// is what signs.
	NodeCA           = "kubernetes-node-ca"
	EtcdCA           = "etcd-ca"
	FrontProxyCA     = "front-proxy-ca"
	AdminCertificate = "admin"
)

// Names of the keys. All but the first are no machine's: what machines get is a digest, as secret as the key and as
// lasting.
const (
	ServiceAccountKey = "service-account"
	EncryptionKey     = "encryption"
	WorkerToken       = "worker-token"
	ControlPlaneToken = "control-plane-token"
)

// calicoCA is the file of the authority that etcd's members are known by to Calico.
const calicoCA = "/etc/calico/pki/ca"

// planPKI plans kubeadm's certificates, with etcd's on machines of their own.
//
// Names that have a meaning: etcd takes a client's common name as the user, and etcd-auth says what that may; the API
// server takes a common name as the user, and an organization as a group of it, which the built-in roles name.
func (p *Plan) planPKI() {
	p.Authorities = []Authority{
		{KubernetesCA, "kubernetes"}, {NodeCA, "kubernetes-node-ca"}, {EtcdCA, "etcd"},
		{FrontProxyCA, "kubernetes-front-proxy"},
	}
	p.Keys = []Key{{ServiceAccountKey}, {EncryptionKey}, {WorkerToken}, {ControlPlaneToken}}
	p.Certificates = []Certificate{
		{Name: AdminCertificate, Authority: KubernetesCA, CommonName: "kubernetes-admin", Organization: "system:masters",
			Client: true},
		{Name: "apiserver-kubelet-client", Authority: KubernetesCA, CommonName: "kube-apiserver-kubelet-client",
			Client: true},
		{Name: "controller-manager", Authority: KubernetesCA, CommonName: "system:kube-controller-manager", Client: true},
		{Name: "scheduler", Authority: KubernetesCA, CommonName: "system:kube-scheduler", Client: true},
		{Name: "node-approver", Authority: KubernetesCA, CommonName: "node-approver", Client: true},
		{Name: "front-proxy-client", Authority: FrontProxyCA, CommonName: "front-proxy-client", Client: true},
		{Name: "etcd-root", Authority: EtcdCA, CommonName: "root", Client: true},
		{Name: "etcd-apiserver", Authority: EtcdCA, CommonName: "kube-apiserver", Client: true},
		{Name: "etcd-calico", Authority: EtcdCA, CommonName: "calico", Client: true},
	}
	if p.Tenancy.Enabled {
		p.Certificates = append(p.Certificates,
			Certificate{Name: "tenant-sync", Authority: KubernetesCA, CommonName: "tenant-sync", Client: true})
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	for i := range p.Machines {
		switch m := &p.Machines[i]; m.Role {
		case RoleEtcd:
			server := Certificate{
				Name: m.name() + "-server", Authority: EtcdCA, CommonName: m.ID,
				// clients reach a member through the proxy on their own node, so by 127.0.0.1 too
				DNSNames: []string{m.ID, "localhost"}, Addresses: []netip.Addr{m.Address, loopback},
				Server: true, Client: true, // etcd's gateway to its own gRPC API is a client of it
			}
			peer := Certificate{
				Name: m.name() + "-peer", Authority: EtcdCA, CommonName: m.ID,
				DNSNames: []string{m.ID}, Addresses: []netip.Addr{m.Address},
				Server: true, Client: true,
			}
			p.Certificates = append(p.Certificates, server, peer)
			m.PKI = append(m.PKI, certificate("/etc/etcd/pki/ca", EtcdCA))
			m.PKI = append(m.PKI, pair("/etc/etcd/pki/server", server.Name)...)
			m.PKI = append(m.PKI, pair("/etc/etcd/pki/peer", peer.Name)...)
			m.PKI = append(m.PKI, pair("/etc/etcd/pki/client", "etcd-root")...)
		case RoleControlPlane:
			server := Certificate{
				Name: m.name() + "-apiserver", Authority: KubernetesCA, CommonName: "kube-apiserver",
				DNSNames: []string{
					m.ID, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
					"kubernetes.default.svc.cluster.local",
				},
				Addresses:  []netip.Addr{m.Address, p.API.Address, p.APIService, loopback},
				FloatingIP: p.API.FloatingIP,
				Server:     true,
			}
			p.Certificates = append(p.Certificates, server)
			const dir = "/etc/kubernetes/pki/"
			m.PKI = append(m.PKI,
				certificate(dir+"ca", KubernetesCA),
				certificate(dir+"client-ca", KubernetesCA, NodeCA),
				certificate(dir+"front-proxy-ca", FrontProxyCA),
				certificate(dir+"etcd/ca", EtcdCA),
				PKIFile{dir + "sa.key", []string{ServiceAccountKey}, PartPrivateKey},
				PKIFile{dir + "sa.pub", []string{ServiceAccountKey}, PartPublicKey})
			m.PKI = append(m.PKI, pair(dir+"node-ca", NodeCA)...)
			m.PKI = append(m.PKI, pair(dir+"apiserver", server.Name)...)
			m.PKI = append(m.PKI, pair(dir+"apiserver-kubelet-client", "apiserver-kubelet-client")...)
			m.PKI = append(m.PKI, pair(dir+"apiserver-etcd-client", "etcd-apiserver")...)
			m.PKI = append(m.PKI, pair(dir+"front-proxy-client", "front-proxy-client")...)
			m.PKI = append(m.PKI, pair(dir+"controller-manager", "controller-manager")...)
			m.PKI = append(m.PKI, pair(dir+"scheduler", "scheduler")...)
			m.PKI = append(m.PKI, pair(dir+"node-approver", "node-approver")...)
			m.PKI = append(m.PKI, pair(dir+"admin", AdminCertificate)...)
			m.PKI = append(m.PKI, certificate(calicoCA, EtcdCA))
			m.PKI = append(m.PKI, pair("/etc/calico/pki/etcd", "etcd-calico")...)
			if p.Tenancy.Enabled {
				webhook := Certificate{ // kube-apiserver and both that ask Keystone for it are on this machine alone
					Name: m.name() + "-keystone-auth", Authority: KubernetesCA, CommonName: "keystone-auth",
					DNSNames: []string{"localhost"}, Addresses: []netip.Addr{loopback},
					Server: true,
				}
				p.Certificates = append(p.Certificates, webhook)
				m.PKI = append(m.PKI, pair(dir+"keystone-auth", webhook.Name)...)
				m.PKI = append(m.PKI, pair(dir+"tenant-sync", "tenant-sync")...)
			}
		case RoleWorker:
			// no private key: kubelets get their certificates from the cluster itself, and Calico's by them
			m.PKI = append(m.PKI, certificate("/etc/kubernetes/pki/ca", KubernetesCA), certificate(calicoCA, EtcdCA))
		}
	}
}

func certificate(path string, of ...string) PKIFile {
	return PKIFile{path + ".crt", of, PartCertificate}
}

func pair(path, of string) []PKIFile {
	return []PKIFile{certificate(path, of), {path + ".key", []string{of}, PartPrivateKey}}
}
