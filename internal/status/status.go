// Package status reads the status of a running cluster. It uses only the APIs and the consoles of the machines, and
// changes nothing: it sends no request that writes, and logs in to no machine. What it cannot read is a part of the
// status, with the reason.
package status

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/readiness"
)

// Source is the information that Read needs.
type Source struct {
	// Kubeconfig is that of the administrators.
	Kubeconfig string
	// Machines are those in the state of the stack.
	Machines []Machine
	// EtcdCA is the certificate of etcd's authority in PEM. Without it, Read connects to no member.
	EtcdCA string
	// Console reads the console of an instance. If it is nil, Read reads no consoles.
	Console func(ctx context.Context, instance string) (string, error)
	// Timeout is the time limit of each read.
	Timeout time.Duration
}

// Machine is a machine in the state of a stack.
type Machine struct {
	Name, Role, Address string
	// Instance is the ID of its instance.
	Instance string
}

// Cluster is the status of a cluster. Fields are empty if they could not be read. Lists are nil then.
type Cluster struct {
	// Time is the time of the read.
	Time time.Time
	// Version is that of the API server that responded, without v.
	Version string
	// FailingChecks are the lines of /readyz that are not ok, such as "[-]etcd failed: reason withheld".
	FailingChecks []string
	// APIServers are the addresses of the API servers that serve.
	APIServers []string
	// Served are the certificates that servers present: of one API server, and of the reachable members of etcd.
	Served []Certificate
	Nodes  []Node
	// Requests are the certificate requests that are neither approved nor denied.
	Requests []Request
	// Consoles are the reports of the machines on their consoles, by name.
	Consoles map[string]readiness.Summary
	// Unread is what could not be read.
	Unread []Unread
}

// Unread is something that could not be read, and the reason.
type Unread struct {
	What   What
	Name   string
	Reason string
}

// What is a kind of things that Read reads.
type What string

// The kinds.
const (
	API            What = "Kubernetes API"
	KubeletMetrics What = "metrics of kubelet"
	Console        What = "console"
	EtcdServer     What = "etcd server"
)

// APIName is the name of the certificate at the address of the API.
const APIName = "API"

// Certificate is a certificate of the state, or one that a server presents.
type Certificate struct {
	// Name is that of the resource, that of the machine, or APIName.
	Name string
	// PEM is the certificate, and End is its end.
	PEM string
	End time.Time
}

// Node is the status of a node.
type Node struct {
	Name, Instance string
	// NotReady is the reason why it is not Ready, or "".
	NotReady string
	// Problems are the other conditions that hold, such as "DiskPressure: kubelet has disk pressure".
	Problems []string
	// Cordoned is true if the node accepts no new pods.
	Cordoned bool
	// Kubelet is the version of kubelet without v, Runtime is that of the container runtime, such as containerd://2.3.4.
	Kubelet, Runtime, OSImage, Kernel string
	Labels                            map[string]string
	// Taints have the format KEY=VALUE:EFFECT.
	Taints []string
	// ServingEnd and ClientEnd are the ends of kubelet's certificates.
	ServingEnd, ClientEnd time.Time
}

// Request is a pending certificate request.
type Request struct {
	Name, Signer, User string
	// Age is the time since its creation, by the clock of the API server.
	Age time.Duration
}

// parallel is the maximum number of consoles that are read in parallel, and that of kubelets.
const parallel = 16

// Read reads everything in parallel.
func Read(ctx context.Context, s Source) Cluster {
	r := &reader{Source: s, slots: make(chan struct{}, parallel)}
	r.status = Cluster{Time: time.Now(), Consoles: map[string]readiness.Summary{}}
	r.all.Go(func() { r.api(ctx) })
	authority := parseCertificate(s.EtcdCA)
	for _, m := range s.Machines {
		if s.Console != nil {
			r.all.Go(func() { r.console(ctx, m) })
		}
		if m.Role == string(cluster.RoleEtcd) && m.Address != "" && authority != nil {
			r.all.Go(func() { r.etcdServer(ctx, m.Name, net.JoinHostPort(m.Address, etcdPort), authority) })
		}
	}
	r.all.Wait()
	slices.SortFunc(r.status.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(r.status.Served, func(a, b Certificate) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(r.status.Unread, func(a, b Unread) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Name, b.Name))
	})
	return r.status
}

// reader collects the status. Its methods run in parallel.
type reader struct {
	Source
	all sync.WaitGroup
	// slots limits the number of consoles that are read in parallel.
	slots chan struct{}

	mu     sync.Mutex // of status
	status Cluster
}

var etcdPort = strconv.Itoa(cluster.EtcdClientPort)

// add changes the status.
func (r *reader) add(change func(*Cluster)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.status)
}

// unread adds something that could not be read.
func (r *reader) unread(what What, name string, err error) {
	r.add(func(c *Cluster) { c.Unread = append(c.Unread, Unread{what, name, err.Error()}) })
}

// console reads the report of a machine.
func (r *reader) console(ctx context.Context, m Machine) {
	r.slots <- struct{}{}
	defer func() { <-r.slots }()
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	text, err := r.Console(ctx, m.Instance)
	if err != nil {
		r.unread(Console, m.Name, err)
		return
	}
	r.add(func(c *Cluster) { c.Consoles[m.Name] = readiness.Summarize(text) })
}

// etcdServer reads the certificate of a member. A TLS server presents it before it requests the client's, so this needs
// no key. A proxy on the way can respond with a certificate of its own.
func (r *reader) etcdServer(ctx context.Context, name, address string, authority *x509.Certificate) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	// an ended certificate must be read too, and the connection sends nothing
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		r.unread(EtcdServer, name, err)
		return
	}
	defer func() { _ = connection.Close() }() // nothing was written
	served := connection.(*tls.Conn).ConnectionState().PeerCertificates[0]
	if err := served.CheckSignatureFrom(authority); err != nil {
		r.unread(EtcdServer, name, fmt.Errorf("another server responds, %s: %w", served.Subject, err))
		return
	}
	r.add(func(c *Cluster) { c.Served = append(c.Served, newCertificate(name, served)) })
}
