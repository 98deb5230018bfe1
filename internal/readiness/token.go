package readiness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// nodeToken is the bootstrap token of an instance in the API.
type nodeToken struct {
	machine Machine
	created bool
}

// tokenTimeout limits one attempt to create a token, so that an unreachable API does not delay the report of a machine.
const tokenTimeout = 3 * time.Second

// create creates the token of a node's instance, once. It does nothing while the API has a Node of this instance, so
// the token of an existing node stays worthless.
func (t *nodeToken) create(ctx context.Context) error {
	m := t.machine
	if !m.Node || t.created {
		return nil
	}
	api, err := newAPI(m.Kubeconfig)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	response, body, err := api.send(ctx, http.MethodGet, "/api/v1/nodes/"+m.Name, "")
	if err != nil {
		return err
	}
	switch response.StatusCode {
	case http.StatusNotFound:
	case http.StatusOK:
		var n node
		if err := json.Unmarshal(body, &n); err != nil || n.Spec.ProviderID == providerID(m.ID) {
			return err
		}
	default:
		return fmt.Errorf("cannot read its Node: %s", response.Status)
	}
	now, err := http.ParseTime(response.Header.Get("Date")) // the API server compares with its own clock
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(m.Seed.Token(m.ID).Manifest(m.Name, now.Add(m.Timeout)))
	if err != nil {
		return err
	}
	response, body, err = api.send(ctx, http.MethodPatch, t.path()+"?fieldManager=pulumi&force=true", string(manifest))
	if err != nil {
		return err
	}
	if t.created = response.StatusCode < 300; !t.created {
		return fmt.Errorf("cannot create its bootstrap token: %s: %s", response.Status, body)
	}
	return nil
}

// delete deletes the token that create has created. After an error, the token expires.
func (t *nodeToken) delete(ctx context.Context) {
	if !t.created {
		return
	}
	if api, err := newAPI(t.machine.Kubeconfig); err == nil {
		_, _, _ = api.send(ctx, http.MethodDelete, t.path(), "")
	}
}

func (t *nodeToken) path() string {
	return "/api/v1/namespaces/kube-system/secrets/" + t.machine.Seed.Token(t.machine.ID).SecretName()
}
