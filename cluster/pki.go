package cluster

import "net/netip"

// Authority is a certificate authority. Only the private key of NodeCA is on machines. The private keys of all other
// authorities stay in the stack's state.
type Authority struct{ Name, CommonName string }

// Key is a key pair without a certificate. It signs tokens, or other secrets are derived from it.
type Key struct{ Name string }

// Certificate is a leaf certificate with a separate private key.
type Certificate struct {
	// Name in the stack. Authority is the name of the Authority that signs it.
	Name, Authority string
	CommonName      string
	// Organization is the Kubernetes group, or empty.
	Organization string
	DNSNames     []string
	Addresses    []netip.Addr
	// FloatingIP adds the API's floating IP to Addresses. Its address is known after OpenStack has created it.
	FloatingIP     bool
	Server, Client bool
}

// Part is a part of an Authority, a Key or a Certificate.
type Part string

// The parts.
const (
	PartCertificate Part = "certificate"
	PartPrivateKey  Part = "private key"
	PartPublicKey   Part = "public key"
)

// PKIFile is a file on a machine. It contains one part of each Authority, Key or Certificate that Of names, in this
// order.
type PKIFile struct {
	Path string
	Of   []string
	Part Part
}

// Names of the authorities, and of the certificates that are not only on machines.
const (
	KubernetesCA = "kubernetes-ca"
	// NodeCA signs only certificates of kubelets. Its private key is on the control planes, because
	// kube-controller-manager signs there.
	NodeCA           = "kubernetes-node-ca"
	EtcdCA           = "etcd-ca"
	FrontProxyCA     = "front-proxy-ca"
	AdminCertificate = "admin"
	// MetricsCA signs only the client certificate of Prometheus. Machines accept no other client for their metrics. etcd
	// and the API servers do not trust this authority, so the certificate gives no access to their data.
	MetricsCA             = "metrics-ca"
	PrometheusCertificate = "prometheus"
	// MetricsServerCertificate is on no machine, but in a Secret of the cluster.
	MetricsServerCertificate = "metrics-server"
)

// Names of the keys. Only ServiceAccountKey is on machines. From each of the others machines get a digest.
const (
	ServiceAccountKey = "service-account"
	EncryptionKey     = "encryption"
	// BootstrapKey is the key of all bootstrap tokens.
	BootstrapKey = "bootstrap"
)

// Files of authorities, without their suffix, on all nodes: Calico verifies etcd members, and HAProxy verifies API
// servers. SELinux does not allow HAProxy to read /etc/kubernetes.
const (
	calicoCA  = "/etc/calico/pki/ca"
	haproxyCA = "/etc/haproxy/ca"
)

// planPKI plans the same certificates as kubeadm, but with etcd on separate machines.
//
// etcd uses the common name of a client as the user, and etcd-auth configures the permissions of each user. The API
// server uses the common name as the user and the organization as its group. Built-in roles refer to these names.
func (p *Plan) planPKI() {
	p.Authorities = []Authority{
		{KubernetesCA, "kubernetes"}, {NodeCA, "kubernetes-node-ca"}, {EtcdCA, "etcd"},
		{FrontProxyCA, "kubernetes-front-proxy"},
	}
	p.Keys = []Key{{ServiceAccountKey}, {EncryptionKey}, {BootstrapKey}}
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
		{Name: "etcd-calico-node", Authority: EtcdCA, CommonName: "calico-node", Client: true},
	}
	// API servers connect to a Service, and verify this name.
	const metricsServer = "metrics-server.kube-system.svc"
	p.Certificates = append(p.Certificates, Certificate{Name: MetricsServerCertificate, Authority: KubernetesCA,
		CommonName: metricsServer, DNSNames: []string{metricsServer}, Server: true})
	if p.Tenancy.Enabled {
		p.Certificates = append(p.Certificates,
			Certificate{Name: "tenant-sync", Authority: KubernetesCA, CommonName: "tenant-sync", Client: true})
	}
	if p.Monitoring.Enabled {
		p.Authorities = append(p.Authorities, Authority{MetricsCA, "metrics"})
		p.Certificates = append(p.Certificates,
			Certificate{Name: PrometheusCertificate, Authority: MetricsCA, CommonName: "prometheus", Client: true})
		for i := range p.Machines {
			p.Machines[i].PKI = append(p.Machines[i].PKI, certificateFile("/etc/machine-metrics/ca", MetricsCA))
		}
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	for i := range p.Machines {
		switch m := &p.Machines[i]; m.Role {
		case RoleEtcd:
			server := Certificate{
				Name: m.shortName() + "-server", Authority: EtcdCA, CommonName: m.ID,
				// Clients also reach a member at 127.0.0.1, through the proxy on their own node.
				DNSNames: []string{m.ID, "localhost"}, Addresses: []netip.Addr{m.Address, loopback},
				Server: true, Client: true, // etcd's gRPC gateway is a client of its own server
			}
			peer := Certificate{
				Name: m.shortName() + "-peer", Authority: EtcdCA, CommonName: m.ID,
				DNSNames: []string{m.ID}, Addresses: []netip.Addr{m.Address},
				Server: true, Client: true,
			}
			p.Certificates = append(p.Certificates, server, peer)
			m.PKI = append(m.PKI, certificateFile("/etc/etcd/pki/ca", EtcdCA))
			m.PKI = append(m.PKI, pairFiles("/etc/etcd/pki/server", server.Name)...)
			m.PKI = append(m.PKI, pairFiles("/etc/etcd/pki/peer", peer.Name)...)
			m.PKI = append(m.PKI, pairFiles("/etc/etcd/pki/client", "etcd-root")...)
		case RoleControlPlane:
			server := Certificate{
				Name: m.shortName() + "-apiserver", Authority: KubernetesCA, CommonName: "kube-apiserver",
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
				certificateFile(dir+"ca", KubernetesCA),
				certificateFile(haproxyCA, KubernetesCA),
				certificateFile(dir+"client-ca", KubernetesCA, NodeCA),
				certificateFile(dir+"front-proxy-ca", FrontProxyCA),
				certificateFile(dir+"etcd/ca", EtcdCA),
				PKIFile{dir + "sa.key", []string{ServiceAccountKey}, PartPrivateKey},
				PKIFile{dir + "sa.pub", []string{ServiceAccountKey}, PartPublicKey})
			m.PKI = append(m.PKI, pairFiles(dir+"node-ca", NodeCA)...)
			m.PKI = append(m.PKI, pairFiles(dir+"apiserver", server.Name)...)
			m.PKI = append(m.PKI, pairFiles(dir+"apiserver-kubelet-client", "apiserver-kubelet-client")...)
			m.PKI = append(m.PKI, pairFiles(dir+"apiserver-etcd-client", "etcd-apiserver")...)
			m.PKI = append(m.PKI, pairFiles(dir+"front-proxy-client", "front-proxy-client")...)
			m.PKI = append(m.PKI, pairFiles(dir+"controller-manager", "controller-manager")...)
			m.PKI = append(m.PKI, pairFiles(dir+"scheduler", "scheduler")...)
			m.PKI = append(m.PKI, pairFiles(dir+"node-approver", "node-approver")...)
			m.PKI = append(m.PKI, pairFiles(dir+"admin", AdminCertificate)...)
			m.PKI = append(m.PKI, certificateFile(calicoCA, EtcdCA))
			m.PKI = append(m.PKI, pairFiles("/etc/calico/pki/etcd", "etcd-calico")...)
			m.PKI = append(m.PKI, pairFiles(dir+"calico-node-etcd", "etcd-calico-node")...) // workers download it
			if p.Tenancy.Enabled {
				webhook := Certificate{ // of both webhooks; all their clients are on the same machine
					Name: m.shortName() + "-keystone-auth", Authority: KubernetesCA, CommonName: "keystone-auth",
					DNSNames: []string{"localhost"}, Addresses: []netip.Addr{loopback},
					Server: true,
				}
				p.Certificates = append(p.Certificates, webhook)
				m.PKI = append(m.PKI, pairFiles(dir+"keystone-auth", webhook.Name)...)
				m.PKI = append(m.PKI, pairFiles(dir+"tenant-sync", "tenant-sync")...)
			}
		case RoleWorker:
			// Workers get no private key. kubelet requests its certificate from the cluster and fetches Calico's with it.
			m.PKI = append(m.PKI,
				certificateFile("/etc/kubernetes/pki/ca", KubernetesCA),
				certificateFile(haproxyCA, KubernetesCA),
				certificateFile(calicoCA, EtcdCA))
		}
	}
}

// certificateFile is the file of one or more certificates. path has no suffix.
func certificateFile(path string, of ...string) PKIFile {
	return PKIFile{path + ".crt", of, PartCertificate}
}

// pairFiles are the files of a certificate and its private key. path has no suffix.
func pairFiles(path, of string) []PKIFile {
	return []PKIFile{certificateFile(path, of), {path + ".key", []string{of}, PartPrivateKey}}
}
