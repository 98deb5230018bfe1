package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	etcd "github.com/coreos/etcd/client"
	"github.com/skynetservices/skydns/msg"
	corev1 "k8s.io/api/core/v1"
)

// schemaVersion is the version of the Kubernetes DNS specification.
const schemaVersion = "1.1.0"

// errNoName is the error that SkyDNS answers with NXDOMAIN. It answers an empty list of records with NODATA.
var errNoName = etcd.Error{Code: etcd.ErrorCodeKeyNotFound}

// answer returns a record with the address of a name. With a port, the name is the target of an SRV record. A host name
// instead of the address would let SkyDNS answer other types with a CNAME record, which dnsmasq caches.
func (b *backend) answer(name, host string, port int32) msg.Service {
	return msg.Service{Host: host, Port: int(port), Priority: 10, Weight: 10, Ttl: 30, Key: msg.Path(name)}
}

// Records returns the records of a name in lower case. With exact, SkyDNS looks for a CNAME record.
func (b *backend) Records(name string, exact bool) ([]msg.Service, error) {
	if name == b.domain {
		return nil, nil
	}
	prefix, inside := strings.CutSuffix(name, "."+b.domain)
	labels := strings.Split(prefix, ".")
	n := len(labels)
	var found []msg.Service
	switch {
	case !inside:
	case prefix == "dns-version":
		found = []msg.Service{{Text: schemaVersion, Ttl: 30}}
	case n == 3 && labels[2] == "pod":
		if ip, ok := dashedIP(labels[0]); ok {
			found = []msg.Service{b.answer(name, ip, 0)}
		}
	case n >= 3 && labels[n-1] == "svc":
		if s := b.service(labels[n-2], labels[n-3]); s != nil {
			found = b.serviceRecords(s, labels[:n-3])
		}
	}
	if len(found) == 0 {
		return nil, errNoName
	}
	if exact {
		found = slices.DeleteFunc(found, func(s msg.Service) bool {
			_, isAddress := canonical(s.Host)
			return isAddress || s.Port != 0 || s.Text != ""
		})
	}
	return found, nil
}

// host is one endpoint of a Service, or one of its ClusterIPs.
type host struct {
	label, ip string
	target    string // of SRV records
	ports     []servicePort
}

type servicePort struct {
	name     string
	protocol corev1.Protocol
	number   int32
}

// serviceRecords returns the records of a name of a Service. labels are those before the Service's name.
func (b *backend) serviceRecords(s *corev1.Service, labels []string) (found []msg.Service) {
	name := b.nameOf(s)
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		if len(labels) == 0 {
			found = append(found, b.answer(name, s.Spec.ExternalName, 0))
		}
		return found
	}
	for _, h := range b.hosts(s) {
		switch {
		case len(labels) == 0 || len(labels) == 1 && labels[0] == h.label:
			found = append(found, b.answer(h.label+"."+name, h.ip, 0))
		case len(labels) == 2:
			for _, p := range h.ports {
				if p.name != "" && labels[0] == "_"+p.name && labels[1] == "_"+strings.ToLower(string(p.protocol)) {
					found = append(found, b.answer(h.target, h.ip, p.number))
				}
			}
		}
	}
	return found
}

// hosts returns the addresses of a Service: its ClusterIPs, or the ready endpoints of a headless Service.
func (b *backend) hosts(s *corev1.Service) (hosts []host) {
	name := b.nameOf(s)
	if !headless(s) {
		for i, ip := range clusterIPs(s) {
			h := host{label: dashed(ip), ip: ip, target: name}
			for _, p := range s.Spec.Ports {
				if i == 0 { // a second ClusterIP has the same target
					h.ports = append(h.ports, servicePort{p.Name, p.Protocol, p.Port})
				}
			}
			hosts = append(hosts, h)
		}
		return hosts
	}
	for _, subset := range b.endpointsOf(s).Subsets {
		var ports []servicePort
		for _, p := range subset.Ports {
			ports = append(ports, servicePort{p.Name, p.Protocol, p.Port})
		}
		for _, address := range subset.Addresses {
			label := labelOf(address)
			hosts = append(hosts, host{label, address.IP, label + "." + name, ports})
		}
	}
	return hosts
}

// ReverseRecord returns the name of a ClusterIP, or of an endpoint with a host name. After an error, SkyDNS forwards
// the query.
func (b *backend) ReverseRecord(name string) (*msg.Service, error) {
	ip, ok := reverseIP(name)
	if !ok {
		return nil, fmt.Errorf("%s is not the name of an address", name)
	}
	services, err := b.services.ByIndex(byIP, ip)
	if err != nil {
		return nil, err
	}
	if len(services) > 0 {
		found := b.answer(name, b.nameOf(services[0].(*corev1.Service)), 0)
		return &found, nil
	}
	endpoints, err := b.endpoints.ByIndex(byIP, ip)
	if err != nil {
		return nil, err
	}
	for _, object := range endpoints {
		e := object.(*corev1.Endpoints)
		s := b.service(e.Namespace, e.Name)
		if s == nil || !headless(s) {
			continue
		}
		for _, h := range b.hosts(s) {
			if own, ok := canonical(h.ip); ok && own == ip && h.label != dashed(h.ip) {
				found := b.answer(name, h.target, 0)
				return &found, nil
			}
		}
	}
	return nil, errNoName
}

// nameOf returns the DNS name of a Service.
func (b *backend) nameOf(s *corev1.Service) string {
	return s.Name + "." + s.Namespace + ".svc." + b.domain
}

// labelOf returns the label of an endpoint. An endpoint without a host name has its address, as in CoreDNS.
func labelOf(address corev1.EndpointAddress) string {
	if address.Hostname != "" {
		return address.Hostname
	}
	return dashed(address.IP)
}

func dashed(ip string) string { return strings.NewReplacer(".", "-", ":", "-").Replace(ip) }

// dashedIP returns the address of a pod's label, such as 10-244-0-7.
func dashedIP(label string) (string, bool) {
	for _, separator := range []string{".", ":"} {
		if ip, ok := canonical(strings.ReplaceAll(label, "-", separator)); ok {
			return ip, true
		}
	}
	return "", false
}

// reverseIP returns the address of a name in in-addr.arpa or ip6.arpa.
func reverseIP(name string) (string, bool) {
	if labels, ok := strings.CutSuffix(name, ".in-addr.arpa."); ok {
		parts := strings.Split(labels, ".")
		slices.Reverse(parts)
		return canonical(strings.Join(parts, "."))
	}
	labels, ok := strings.CutSuffix(name, ".ip6.arpa.")
	digits := strings.Split(labels, ".")
	if !ok || len(digits) != 32 {
		return "", false
	}
	slices.Reverse(digits)
	var groups []string
	for group := range slices.Chunk(digits, 4) {
		groups = append(groups, strings.Join(group, ""))
	}
	return canonical(strings.Join(groups, ":"))
}

// canonical returns an address in the form of the indexes. It rejects a zone such as in fe80::1%eth0, because SkyDNS
// would take this text for the name of a host.
func canonical(text string) (string, bool) {
	address, err := netip.ParseAddr(text)
	return address.String(), err == nil && address.Zone() == ""
}
