// Package tenantsync reads the tenants of OpenStack, and applies the plan of package tenancy to Kubernetes.
//
// Objects of this package have tenancy's label, and fields that our field manager applied. A tenant can imitate both
// only on a NetworkPolicy in their own namespace, because they cannot write our other kinds. Then the sync deletes
// their NetworkPolicy. Each sync restores the planned fields of our objects, even if another field manager owns them.
package tenantsync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"kubernetes-openstack/internal/field"
	"kubernetes-openstack/internal/tenancy"
)

// Sync updates the tenants of the cluster to those of OpenStack. It passes a line for each change to log before it
// makes the changes. It returns Changes.Policy.
func Sync(ctx context.Context, kube *rest.Config, cloud Cloud, settings tenancy.Settings,
	log func(line string) error) (policy []byte, err error) {
	changes, err := Compare(ctx, kube, cloud, settings)
	if err != nil {
		return nil, err
	}
	for _, line := range changes.Lines() {
		if err := log(line); err != nil {
			return nil, err
		}
	}
	return changes.Policy, changes.Apply(ctx)
}

// Changes are the differences between the cluster and the plan.
type Changes struct {
	// Policy is the policy file of API servers that use ABAC, after Apply has succeeded. It is empty if RBAC is the
	// authorizer. If Apply has failed, only the removals of Policy may be used.
	Policy []byte
	// ReadDuration is the time that the requests to OpenStack took.
	ReadDuration time.Duration

	api      api
	warnings []field.Error
	list     []change
}

// change is the change of one object.
type change struct {
	// sign is + for a new object, ~ for a changed one, and - for a deleted one.
	sign string
	// object is the planned object, or the existing object if it is to be deleted.
	object *object
	// detail follows the object's name in the log.
	detail string
	stage  stage
}

// stage is the stage of Apply that makes the change. Removals of access come first. Additions of access come after
// all objects that they need.
type stage int

const (
	revoke        stage = iota
	clusterScoped       // namespaces and objects without a namespace
	namespaced
	grant
	prune
	stageCount
)

// namespace returns the namespace of the object, or the name of the object if it is a namespace. It returns "" for
// other cluster-scoped objects.
func (c change) namespace() string {
	if c.object.GetKind() == namespaceKind.Kind {
		return c.object.GetName()
	}
	return c.object.GetNamespace()
}

func (c change) String() string { return c.sign + " " + idOf(c.object).String() + c.detail }

// Compare reads the state of OpenStack and the cluster, and returns the necessary changes. It changes nothing. It
// returns an error if it cannot read all tenants of OpenStack.
func Compare(ctx context.Context, kube *rest.Config, cloud Cloud, settings tenancy.Settings) (*Changes, error) {
	start := time.Now()
	s, err := cloud.login(ctx)
	if err != nil {
		return nil, err
	}
	snapshot, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.addQuotas(ctx, snapshot, settings); err != nil {
		return nil, err
	}
	c := &Changes{ReadDuration: time.Since(start)}

	if c.api, err = newAPI(kube); err != nil {
		return nil, err
	}
	namespaces, err := c.api.list(ctx, namespaceKind, "")
	if err != nil {
		return nil, err
	}
	typed := make([]corev1.Namespace, len(namespaces))
	for i, n := range namespaces {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(n.Object, &typed[i]); err != nil {
			return nil, err
		}
	}
	plan, err := tenancy.NewPlan(snapshot, settings, typed)
	if err != nil {
		return nil, err
	}
	if err := s.confirmDeleted(ctx, plan); err != nil {
		return nil, err
	}
	c.warnings = plan.Warnings
	if c.Policy, err = plan.Policy(); err != nil {
		return nil, err
	}
	if c.list, err = c.api.changes(ctx, plan, namespaces); err != nil {
		return nil, err
	}
	return c, ctx.Err()
}

// confirmDeleted requests from Keystone each project that it did not list. It returns an error if such a project
// exists, because then other projects may be missing too.
func (s *session) confirmDeleted(ctx context.Context, plan tenancy.Plan) error {
	requests, requestCtx := errgroup.WithContext(ctx)
	requests.SetLimit(maxParallel)
	for _, t := range slices.Concat(plan.Tenants, plan.ToDelete) {
		if t.Closed != tenancy.Deleted {
			continue
		}
		requests.Go(func() error {
			deleted, err := s.isDeleted(requestCtx, t.ProjectID)
			if err == nil && !deleted {
				err = errors.New("the project exists, but Keystone's list does not contain it: the list may be incomplete")
			}
			if err != nil {
				return fmt.Errorf("project %s of namespace %s: %w", t.ProjectID, t.Namespace, err)
			}
			return nil
		})
	}
	return requests.Wait()
}

// changes returns the differences between the cluster and the plan, sorted by stage.
func (a api) changes(ctx context.Context, plan tenancy.Plan, namespaces []object) ([]change, error) {
	var planned []*object
	for _, o := range plan.Objects() {
		o, err := toUnstructured(o)
		if err != nil {
			return nil, err
		}
		planned = append(planned, o)
	}
	existing, err := a.existing(ctx, planned, namespaces)
	if err != nil {
		return nil, err
	}
	terminating := map[string]bool{} // namespaces that are being deleted, in which no object can be created
	for _, n := range namespaces {
		terminating[n.GetName()] = n.GetDeletionTimestamp() != nil
	}
	projects, toDelete := map[string]string{}, map[string]bool{}
	for _, t := range plan.Tenants {
		projects[t.Namespace] = projectDetail(t)
	}
	for _, t := range plan.ToDelete {
		projects[t.Namespace], toDelete[t.Namespace] = projectDetail(t), true
	}

	found := make([]*change, len(planned))
	var comparing errgroup.Group
	comparing.SetLimit(maxParallel)
	for i, o := range planned {
		current := existing[idOf(o)]
		delete(existing, idOf(o))
		if current == nil && terminating[o.GetNamespace()] {
			continue
		}
		comparing.Go(func() error {
			found[i] = a.compare(ctx, current, o)
			if found[i] != nil && o.GetKind() == namespaceKind.Kind {
				found[i].detail = projects[o.GetName()] + found[i].detail
			}
			return nil
		})
	}
	_ = comparing.Wait()

	var list []change
	for _, c := range found {
		if c != nil {
			list = append(list, *c)
		}
	}
	for _, i := range slices.SortedFunc(maps.Keys(existing),
		func(a, b id) int { return strings.Compare(a.String(), b.String()) }) {
		c := change{sign: "-", object: existing[i], stage: prune}
		switch {
		case i.Kind == namespaceKind.Kind:
			if !toDelete[i.name] || terminating[i.name] {
				continue
			}
			c.detail = projects[i.name]
		case toDelete[i.namespace] || appliedFields(c.object) == nil:
			continue
		case i.Kind == bindingKind.Kind:
			c.stage, c.detail = revoke, joinSigned(" -", subjects(c.object))
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b change) int { return int(a.stage - b.stage) })
	return list, nil
}

// compare returns the change from current, which may be nil, to planned. It returns nil if they are equal.
func (a api) compare(ctx context.Context, current, planned *object) *change {
	c := &change{sign: "+", object: planned, stage: namespaced}
	binding := planned.GetKind() == bindingKind.Kind
	if binding {
		c.stage = grant
	} else if planned.GetNamespace() == "" {
		c.stage = clusterScoped
	}
	if current == nil {
		return c
	}
	differs, err := a.differs(ctx, current, planned)
	if !differs {
		return nil
	}
	c.sign = "~"
	if binding {
		lost, gained := without(subjects(current), subjects(planned)), without(subjects(planned), subjects(current))
		if len(lost) > 0 {
			c.stage = revoke
		}
		c.detail = joinSigned(" -", lost) + joinSigned(" +", gained)
	}
	if err != nil { // Apply fails with the same error
		c.detail += ": " + err.Error()
	}
	return c
}

func projectDetail(t tenancy.Tenant) string {
	detail := fmt.Sprintf(" (project %s@%s", t.Project, t.Domain)
	if t.Closed != "" {
		detail += ", " + string(t.Closed)
	}
	return detail + ")"
}

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// joinSigned returns the names, each after the sign.
func joinSigned(sign string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return sign + strings.Join(names, sign)
}

// Lines returns the warnings and the changes for people, one per line.
func (c *Changes) Lines() []string {
	var lines []string
	for _, w := range c.warnings {
		lines = append(lines, w.Path+": notice: "+w.Message)
	}
	for _, change := range c.list {
		lines = append(lines, change.String())
	}
	for i, line := range lines {
		lines[i] = strings.Map(func(r rune) rune { // tenants choose names, which may contain newlines
			if unicode.IsPrint(r) {
				return r
			}
			return unicode.ReplacementChar
		}, line)
	}
	return lines
}

// Apply makes the changes, and continues after errors. It gives no access in a namespace in which another change
// failed.
func (c *Changes) Apply(ctx context.Context) error {
	errs := make([]error, len(c.list))
	failed := map[string]bool{} // by namespace; "" stands for cluster-scoped objects
	for stage := revoke; stage < stageCount; stage++ {
		var changing errgroup.Group
		changing.SetLimit(maxParallel)
		for i, change := range c.list {
			if change.stage != stage {
				continue
			}
			changing.Go(func() error {
				if stage == grant && (failed[""] || failed[change.namespace()]) {
					errs[i] = fmt.Errorf("%s: not applied, because an earlier object was not applied", idOf(change.object))
				} else if err := c.api.perform(ctx, change); err != nil {
					errs[i] = fmt.Errorf("%s: %w", idOf(change.object), err)
				}
				return nil
			})
		}
		_ = changing.Wait()
		if stage == clusterScoped || stage == namespaced {
			for i, change := range c.list {
				if errs[i] != nil && change.stage == stage {
					failed[change.namespace()] = true
				}
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err // all errors have this cause
	}
	return errors.Join(errs...)
}

// perform makes one change.
func (a api) perform(ctx context.Context, c change) error {
	if c.sign == "-" {
		return a.delete(ctx, c.object)
	}
	_, err := a.apply(ctx, c.object)
	return err
}
