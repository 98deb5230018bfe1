package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"kubernetes-openstack/internal/bootstraptoken"
)

// plan contains the machines of the cluster's configuration, except for workers. The number of workers changes, and
// control planes must not be replaced for that.
type plan struct {
	// controlPlanePrefix is the prefix of the names of control planes. No other machine's name has it.
	controlPlanePrefix string
	// machines is the CIDR of the machines' network. Each machine has exactly one address in it.
	machines netip.Prefix
	// reserved maps addresses to their owners: the names of control planes and etcd members, the API and routers.
	reserved map[netip.Addr]string
	// ranges are the CIDRs of pods and Services.
	ranges []netip.Prefix
}

// signingRequest is what a kubelet creates in the API to get a certificate.
type signingRequest = certificatesv1.CertificateSigningRequest

// verdict on a request.
type verdict string

// The verdicts. No request is denied, because that is final: a control plane with a newer plan may approve it.
const (
	approve verdict = "approve"
	pend    verdict = "pend"   // stays pending, for a later sync or an operator
	ignore  verdict = "ignore" // not for node-approver, or already decided
)

// decision about a request.
type decision struct {
	verdict verdict
	// node is the name of the node that the certificate is for, or "" if the request does not contain one.
	node string
	// reason is the reason why the request stays pending.
	reason string
	// old is the Node of an earlier machine with this name, or nil. It must be deleted before the approval, because
	// the new kubelet cannot take it over.
	old *corev1.Node
}

const (
	nodeUser  = "system:node:"
	nodeGroup = "system:nodes"
	tokenUser = "system:bootstrap:"
)

// decide evaluates a request. nodes are all Nodes by name. decide makes at least the same checks as Kubernetes for
// these two signers (ValidateKubeletServingCSR and ValidateKubeletClientCSR). It also checks the names and addresses.
func (p plan) decide(csr *signingRequest, nodes map[string]*corev1.Node, now time.Time) decision {
	if len(csr.Status.Conditions) > 0 || len(csr.Status.Certificate) > 0 {
		return decision{verdict: ignore}
	}
	var d decision
	var err error
	switch csr.Spec.SignerName {
	case certificatesv1.KubeletServingSignerName:
		d.node, err = p.checkServing(csr, nodes)
	case certificatesv1.KubeAPIServerClientKubeletSignerName:
		if strings.HasPrefix(csr.Spec.Username, nodeUser) {
			return decision{verdict: ignore} // kube-controller-manager approves renewals
		}
		d.node, d.old, err = checkClient(csr, nodes, now)
	default:
		return decision{verdict: ignore}
	}
	d.verdict = approve
	if err != nil {
		d.verdict, d.reason, d.old = pend, shorten(err.Error()), nil
	}
	return d
}

// shorten limits the length of texts from a request in logs and conditions.
func shorten(text string) string {
	const limit = 300
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// checkServing checks a request for a serving certificate. A node may request it only for its own name and addresses.
func (p plan) checkServing(csr *signingRequest, nodes map[string]*corev1.Node) (name string, err error) {
	name, ok := nodeName(csr.Spec.Username)
	if !ok {
		return "", fmt.Errorf("the user %q is not a node", csr.Spec.Username)
	}
	if !slices.Contains(csr.Spec.Groups, nodeGroup) {
		return "", fmt.Errorf("the user %q is not in the group %s", csr.Spec.Username, nodeGroup)
	}
	request, err := parse(csr.Spec.Request)
	if err != nil {
		return name, err
	}
	want := &x509.CertificateRequest{
		Subject: subject(name), DNSNames: request.DNSNames, IPAddresses: request.IPAddresses,
	}
	if err := checkContent(request, want); err != nil {
		return name, err
	}
	if err := checkUsages(csr, certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth); err != nil {
		return name, err
	}
	node := nodes[name]
	if node == nil {
		return name, fmt.Errorf("Node %s does not exist", name)
	}
	for _, host := range request.DNSNames {
		if !ownHost(host, node) {
			return name, fmt.Errorf("DNS name %q does not belong to the node", host)
		}
	}
	machineAddresses := 0
	for _, ip := range request.IPAddresses {
		address, _ := netip.AddrFromSlice(ip)
		address = address.Unmap()
		if err := p.ownAddress(address, node, nodes); err != nil {
			return name, err
		}
		if p.machines.Contains(address) {
			machineAddresses++
		}
	}
	if machineAddresses != 1 {
		return name, fmt.Errorf("the request must have exactly one address in %s, not %d", p.machines, machineAddresses)
	}
	return name, nil
}

// ownHost reports whether host is the node's name, or a longer form of the name in the status of its Node.
func ownHost(host string, node *corev1.Node) bool {
	return host == node.Name || strings.HasPrefix(host, node.Name+".") &&
		slices.ContainsFunc(node.Status.Addresses, func(a corev1.NodeAddress) bool {
			return a.Address == host && a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP
		})
}

// ownAddress returns an error if the node must not have a certificate for address.
//
// Only the Node in the API lists a machine's floating IPs. kubelet can write the status of its own Node, and
// NodeRestriction does not limit that. So a compromised node could list any address. Two checks prevent this:
//   - The ValidatingAdmissionPolicy node-addresses.kubernetes-openstack (templates/node-approver). A node can set its
//     addresses only when it registers, and only to its name and one address of the machines' network. The cloud
//     controller writes all other addresses. It reads them from OpenStack.
//   - This function, which does not rely on the policy. It refuses addresses that are reserved for another machine,
//     the API or a router, addresses of pods and Services, and addresses that another Node also lists. So no
//     certificate is valid for another existing machine. A forged address outside of these is useless. Only the API
//     server trusts the CA of these certificates, and it connects to a kubelet at the internal address of its Node.
//
// The plan does not contain the workers' addresses in the machines' network. A node that is the first to register
// with a free address of the network gets this address.
func (p plan) ownAddress(address netip.Addr, node *corev1.Node, nodes map[string]*corev1.Node) error {
	if !hasAddress(node, address) {
		return fmt.Errorf("%s is not an address of Node %s", address, node.Name)
	}
	isControlPlane := strings.HasPrefix(node.Name, p.controlPlanePrefix)
	if owner := p.reserved[address]; owner != "" {
		if isControlPlane && owner == node.Name {
			return nil
		}
		return fmt.Errorf("%s is the address of %s", address, owner)
	}
	if p.machines.Contains(address) {
		if isControlPlane && p.isPlanned(node.Name) {
			return fmt.Errorf("%s is not the planned address of %s", address, node.Name)
		}
	} else if !address.IsGlobalUnicast() {
		return fmt.Errorf("%s is not the address of a machine", address)
	}
	for _, r := range p.ranges {
		if r.Contains(address) {
			return fmt.Errorf("%s is in %s, which pods or Services have", address, r)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		if name != node.Name && hasAddress(nodes[name], address) {
			return fmt.Errorf("%s is an address of Node %s too", address, name)
		}
	}
	return nil
}

// isPlanned reports whether name owns a reserved address.
func (p plan) isPlanned(name string) bool {
	for _, owner := range p.reserved {
		if owner == name {
			return true
		}
	}
	return false
}

// hasAddress reports whether address is an address of node.
func hasAddress(node *corev1.Node, address netip.Addr) bool {
	return slices.ContainsFunc(node.Status.Addresses, func(a corev1.NodeAddress) bool {
		parsed, err := netip.ParseAddr(a.Address)
		return err == nil && parsed.Unmap() == address && (a.Type == corev1.NodeInternalIP || a.Type == corev1.NodeExternalIP)
	})
}

// checkClient checks a request for the first client certificate of a node. A new instance requests it with its own
// bootstrap token.
func checkClient(csr *signingRequest, nodes map[string]*corev1.Node, now time.Time) (
	name string, old *corev1.Node, err error,
) {
	request, err := parse(csr.Spec.Request)
	if err != nil {
		return "", nil, err
	}
	name, ok := nodeName(request.Subject.CommonName)
	if !ok {
		return "", nil, fmt.Errorf("the common name %q is not that of a node", request.Subject.CommonName)
	}
	if err := checkContent(request, &x509.CertificateRequest{Subject: subject(name)}); err != nil {
		return name, nil, err
	}
	if err := checkUsages(csr, certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature); err != nil {
		return name, nil, err
	}
	if !strings.HasPrefix(csr.Spec.Username, tokenUser) {
		return name, nil, fmt.Errorf("the user %q has no bootstrap token", csr.Spec.Username)
	}
	if err := bootstraptoken.Check(csr.Spec.Groups, name, now); err != nil {
		return name, nil, err
	}
	node := nodes[name]
	if node == nil || !node.CreationTimestamp.Before(&csr.CreationTimestamp) {
		return name, nil, nil // a younger Node is from an earlier attempt of the same machine
	}
	if isTrue(node, corev1.NodeReady) {
		return name, nil, fmt.Errorf("Node %s is Ready: another machine has this name", name)
	}
	return name, node, nil
}

func isTrue(node *corev1.Node, condition corev1.NodeConditionType) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == condition && c.Status == corev1.ConditionTrue
	})
}

// nodeName returns the name of the node with this username.
func nodeName(user string) (string, bool) {
	name, ok := strings.CutPrefix(user, nodeUser)
	return name, ok && len(validation.IsDNS1123Subdomain(name)) == 0
}

func subject(node string) pkix.Name {
	return pkix.Name{CommonName: nodeUser + node, Organization: []string{nodeGroup}}
}

// checkUsages returns an error if csr has other usages than want. RSA keys may also have key encipherment.
func checkUsages(csr *signingRequest, want ...certificatesv1.KeyUsage) error {
	got := slices.Sorted(slices.Values(csr.Spec.Usages))
	if i := slices.Index(got, certificatesv1.UsageKeyEncipherment); i >= 0 {
		got = slices.Delete(got, i, i+1)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("the usages are %q, expected %q", csr.Spec.Usages, want)
	}
	return nil
}

// parse parses a request that is one PEM block exactly as kubelet writes it, and verifies the signature with the
// request's key. The signer uses the same parser, so it finds the same request in the text.
func parse(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(block.Headers) > 0 ||
		!bytes.Equal(pem.EncodeToMemory(block), text) {
		return nil, errors.New("the request must be exactly one CERTIFICATE REQUEST in PEM")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	switch key := request.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return nil, errors.New("the key is weaker than P-256")
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 8192 {
			return nil, fmt.Errorf("the RSA key has %d bits, expected 2048 to 8192", bits)
		}
	default:
		return nil, fmt.Errorf("the key is neither ECDSA nor RSA but %s", request.PublicKeyAlgorithm)
	}
	return request, request.CheckSignature()
}

// checkContent returns an error if request contains anything that template does not contain: another subject or name,
// an extension, an attribute, or another encoding. kubelet creates its requests with crypto/x509, and so does this
// function. With the same key, the bytes must be the same as in a request that kubelet creates from template.
func checkContent(request, template *x509.CertificateRequest) error {
	if got, want := request.Subject.String(), template.Subject.String(); got != want {
		return fmt.Errorf("the subject is %q, expected %q", got, want)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return err
	}
	want, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	expected := bytes.Replace(content(want), want.RawSubjectPublicKeyInfo, request.RawSubjectPublicKeyInfo, 1)
	if !bytes.Equal(content(request), expected) {
		return fmt.Errorf("the request has more than the subject, %d DNS names and %d addresses: DNS names %q, "+
			"addresses %s, e-mail addresses %q, URIs %s, %d extensions",
			len(template.DNSNames), len(template.IPAddresses), request.DNSNames, request.IPAddresses,
			request.EmailAddresses, request.URIs, len(request.Extensions))
	}
	return nil
}

// content returns the signed part of request, without the header that contains its length.
func content(request *x509.CertificateRequest) []byte {
	var sequence asn1.RawValue
	_, _ = asn1.Unmarshal(request.RawTBSCertificateRequest, &sequence) // crypto/x509 has parsed it before
	return sequence.Bytes
}
