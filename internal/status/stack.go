package status

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"kubernetes-openstack/cluster"
)

// Types of resources that this package knows.
const (
	InstanceType    = "openstack:compute/instance:Instance"
	certificateType = "tls:index/locallySignedCert:LocallySignedCert"
	authorityType   = "tls:index/selfSignedCert:SelfSignedCert"
)

// Stack is the state of a stack.
type Stack struct {
	Name      string
	Resources []Resource
	// Outputs are those of the stack.
	Outputs map[string]any
	// Updated is the time of the last change of the state.
	Updated time.Time
}

// Resource is a resource that Pulumi manages.
type Resource struct {
	Type, Name, ID  string
	Inputs, Outputs map[string]any
}

// ParseStack reads the output of `pulumi stack export --show-secrets`.
func ParseStack(name string, export []byte) (Stack, error) {
	var document struct {
		Deployment struct {
			Manifest  struct{ Time time.Time }
			Resources []struct {
				URN, ID, Type   string
				Delete          bool
				Inputs, Outputs map[string]any
			}
		}
	}
	if err := json.Unmarshal(export, &document); err != nil {
		return Stack{}, fmt.Errorf("must be the output of `pulumi stack export --show-secrets`: %w", err)
	}
	s := Stack{Name: name, Updated: document.Deployment.Manifest.Time}
	for _, r := range document.Deployment.Resources {
		inputs, _ := plain(r.Inputs).(map[string]any)
		outputs, _ := plain(r.Outputs).(map[string]any)
		switch {
		case r.Delete:
		case r.Type == "pulumi:pulumi:Stack":
			s.Outputs = outputs
		default:
			s.Resources = append(s.Resources, Resource{r.Type, r.URN[strings.LastIndex(r.URN, ":")+1:], r.ID, inputs, outputs})
		}
	}
	return s, nil
}

// secretKey is the key of an object that stands for a secret. Its plaintext is JSON.
const secretKey = "4dabf18193072939515e22adb298388d"

// plain replaces secrets by their values.
func plain(value any) any {
	switch value := value.(type) {
	case map[string]any:
		if _, secret := value[secretKey]; secret {
			var out any
			text, _ := value["plaintext"].(string)
			if json.Unmarshal([]byte(text), &out) != nil {
				return nil // without --show-secrets
			}
			return plain(out)
		}
		for key := range value {
			value[key] = plain(value[key])
		}
	case []any:
		for i := range value {
			value[i] = plain(value[i])
		}
	}
	return value
}

// Kubeconfig returns the administrators' kubeconfig, or "" before the first `up` has ended.
func (s Stack) Kubeconfig() string {
	text, _ := s.Outputs["kubeconfig"].(string)
	return text
}

// OfType returns the resources of a type.
func (s Stack) OfType(typ string) []Resource {
	return slices.DeleteFunc(slices.Clone(s.Resources), func(r Resource) bool { return r.Type != typ })
}

// Text returns an input that is a text, or "".
func (r Resource) Text(key string) string {
	text, _ := r.Inputs[key].(string)
	return text
}

// Machines returns the machines, sorted by name. Their addresses are in the outputs of the stack.
func (s Stack) Machines() []Machine {
	addresses, _ := s.Outputs["machines"].(map[string]any)
	var out []Machine
	for _, r := range s.OfType(InstanceType) {
		m := Machine{Name: r.Name, Instance: r.ID}
		metadata, _ := r.Inputs["metadata"].(map[string]any)
		m.Role, _ = metadata["role"].(string)
		output, _ := addresses[r.Name].(map[string]any)
		m.Address, _ = output["address"].(string)
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Machine) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Certificates returns the certificates in the state, sorted by name. Authorities are among them.
func (s Stack) Certificates() []Certificate {
	var out []Certificate
	for _, r := range slices.Concat(s.OfType(certificateType), s.OfType(authorityType)) {
		text, _ := r.Outputs["certPem"].(string)
		if c := parseCertificate(text); c != nil {
			out = append(out, newCertificate(r.Name, c))
		}
	}
	slices.SortFunc(out, func(a, b Certificate) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// EtcdCA returns the certificate of etcd's authority in PEM, or "" if it is unknown.
func (s Stack) EtcdCA() string {
	for _, c := range s.Certificates() {
		if c.Name == s.Cluster()+"-"+cluster.EtcdCA {
			return c.PEM
		}
	}
	return ""
}

// parseCertificate parses a certificate in PEM. It returns nil if text is none.
func parseCertificate(text string) *x509.Certificate {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return c
}

func newCertificate(name string, c *x509.Certificate) Certificate {
	return Certificate{name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})), c.NotAfter}
}

// Project returns the ID of the OpenStack project with the resources, or "" if it is unknown.
func (s Stack) Project() string { return s.text("pulumi:providers:teardown", "project") }

// Cluster returns the name of the cluster, or "" if it is unknown.
func (s Stack) Cluster() string { return s.text("teardown:index:Leftovers", "cluster") }

// text returns an input of the only resource of a type.
func (s Stack) text(typ, input string) string {
	for _, r := range s.OfType(typ) {
		return r.Text(input)
	}
	return ""
}
