// Package tenantsync does what package tenancy plans: it reads what OpenStack knows of
// its tenants, and makes Kubernetes' be the same.
//
// What is ours in Kubernetes has tenancy's label, and fields that our field manager applied. A tenant can have both
// said of NetworkPolicies in their own namespace, the only one of our kinds that they may write. All that they get by
// it is that we delete theirs: each sync makes ours what is planned, whoever else says that it is theirs.
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

// Sync makes the cluster's tenants be OpenStack's. It logs the changes, each in a line, then makes them. The policy is
// Changes'.
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

// Changes are what is to be done so that the cluster is as planned.
type Changes struct {
	// Policy is for API servers that authorize by ABAC, once the changes are applied, and empty where RBAC is the
	// authorizer. Where one of the changes failed, of it only what takes access away.
	Policy []byte
	// Reading is how long OpenStack took to say what it has.
	Reading time.Duration

	api      api
	warnings []field.Error
	list     []change
}

// change is of one object.
type change struct {
	// sign is + for what is not there, ~ for what is otherwise, and - for what goes.
	sign string
	// object is as it is to be; as it is, where it goes.
	object *object
	// about is what to say of it besides its name.
	about string
	stage stage
}

// stage is when a change is made: what takes access away first, and what gives it when all else is there.
type stage int

const (
	revoke  stage = iota
	outside       // of namespaces, and these themselves
	inside
	grant
	prune
	stages
)

// namespace is the one that the object is in, or is; "" for what is in none.
func (c change) namespace() string {
	if c.object.GetKind() == namespaceKind.Kind {
		return c.object.GetName()
	}
	return c.object.GetNamespace()
}

func (c change) String() string { return c.sign + " " + idOf(c.object).String() + c.about }

// Compare reads OpenStack and the cluster and tells what to change, but changes nothing. It tells nothing at all
// where it cannot read all of OpenStack's tenants.
func Compare(ctx context.Context, kube *rest.Config, cloud Cloud, settings tenancy.Settings) (*Changes, error) {
	start := time.Now()
	r, err := cloud.login(ctx)
	if err != nil {
		return nil, err
	}
	world, err := r.world(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.addQuotas(ctx, world, settings); err != nil {
		return nil, err
	}
	c := &Changes{Reading: time.Since(start)}

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
	plan, err := tenancy.NewPlan(world, settings, typed)
	if err != nil {
		return nil, err
	}
	if err := r.confirm(ctx, plan); err != nil {
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

// confirm asks Keystone once more for each project that it did not list: if it
// has one of them, others may be missing, too.
func (r *reader) confirm(ctx context.Context, plan tenancy.Plan) error {
	questions, asking := errgroup.WithContext(ctx)
	questions.SetLimit(parallel)
	for _, t := range slices.Concat(plan.Tenants, plan.Gone) {
		if t.Closed != tenancy.Deleted {
			continue
		}
		questions.Go(func() error {
			deleted, err := r.isDeleted(asking, t.ProjectID)
			if err == nil && !deleted {
				err = errors.New("Keystone did not list it, and has it: are its lists complete?")
			}
			if err != nil {
				return fmt.Errorf("project %s of namespace %s: %w", t.ProjectID, t.Namespace, err)
			}
			return nil
		})
	}
	return questions.Wait()
}

// changes are those between what is there and the plan, in the order of their stages.
func (a api) changes(ctx context.Context, plan tenancy.Plan, namespaces []object) ([]change, error) {
	var planned []*object
	for _, o := range plan.Objects() {
		o, err := toApply(o)
		if err != nil {
			return nil, err
		}
		planned = append(planned, o)
	}
	existing, err := a.existing(ctx, planned, namespaces)
	if err != nil {
		return nil, err
	}
	ending := map[string]bool{} // namespaces that are being deleted: nothing can come into them
	for _, n := range namespaces {
		ending[n.GetName()] = n.GetDeletionTimestamp() != nil
	}
	projects, gone := map[string]string{}, map[string]bool{}
	for _, t := range plan.Tenants {
		projects[t.Namespace] = aboutProject(t)
	}
	for _, t := range plan.Gone {
		projects[t.Namespace], gone[t.Namespace] = aboutProject(t), true
	}

	found := make([]*change, len(planned))
	var comparing errgroup.Group
	comparing.SetLimit(parallel)
	for i, o := range planned {
		is := existing[idOf(o)]
		delete(existing, idOf(o))
		if is == nil && ending[o.GetNamespace()] {
			continue
		}
		comparing.Go(func() error {
			found[i] = a.compare(ctx, is, o)
			if found[i] != nil && o.GetKind() == namespaceKind.Kind {
				found[i].about = projects[o.GetName()] + found[i].about
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
			if !gone[i.name] || ending[i.name] {
				continue
			}
			c.about = projects[i.name]
		case gone[i.namespace] || applied(c.object) == nil:
			continue
		case i.Kind == bindingKind.Kind:
			c.stage, c.about = revoke, signed(" -", subjects(c.object))
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b change) int { return int(a.stage - b.stage) })
	return list, nil
}

// compare is the change from what is, if it is, to what is planned; nil where they are the same.
func (a api) compare(ctx context.Context, is, planned *object) *change {
	c := &change{sign: "+", object: planned, stage: inside}
	binding := planned.GetKind() == bindingKind.Kind
	if binding {
		c.stage = grant
	} else if planned.GetNamespace() == "" {
		c.stage = outside
	}
	if is == nil {
		return c
	}
	differs, err := a.differs(ctx, is, planned)
	if !differs {
		return nil
	}
	c.sign = "~"
	if binding {
		lost, won := without(subjects(is), subjects(planned)), without(subjects(planned), subjects(is))
		if len(lost) > 0 {
			c.stage = revoke
		}
		c.about = signed(" -", lost) + signed(" +", won)
	}
	if err != nil { // which applying it will say, too
		c.about += ": " + err.Error()
	}
	return c
}

func aboutProject(t tenancy.Tenant) string {
	about := fmt.Sprintf(" (project %s@%s", t.Project, t.Domain)
	if t.Closed != "" {
		about += ", " + string(t.Closed)
	}
	return about + ")"
}

// without is a without what is in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// signed is each name behind a sign.
func signed(sign string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return sign + strings.Join(names, sign)
}

// Lines are the changes for people, one a line, and what may be wrong before them.
func (c *Changes) Lines() []string {
	var lines []string
	for _, w := range c.warnings {
		lines = append(lines, w.Path+": notice: "+w.Message)
	}
	for _, change := range c.list {
		lines = append(lines, change.String())
	}
	for i, line := range lines {
		lines[i] = strings.Map(func(r rune) rune { // names are anybody's: one may begin a line of its own
			if unicode.IsPrint(r) {
				return r
			}
			return unicode.ReplacementChar
		}, line)
	}
	return lines
}

// Apply makes the changes, all that it can. Nobody is given access where something else failed.
func (c *Changes) Apply(ctx context.Context) error {
	errs := make([]error, len(c.list))
	failed := map[string]bool{} // namespaces, and "" for what is in none
	for stage := revoke; stage < stages; stage++ {
		var changing errgroup.Group
		changing.SetLimit(parallel)
		for i, change := range c.list {
			if change.stage != stage {
				continue
			}
			changing.Go(func() error {
				if stage == grant && (failed[""] || failed[change.namespace()]) {
					errs[i] = fmt.Errorf("%s: not applied, as something that comes before it was not", idOf(change.object))
				} else if err := c.api.make(ctx, change); err != nil {
					errs[i] = fmt.Errorf("%s: %w", idOf(change.object), err)
				}
				return nil
			})
		}
		_ = changing.Wait()
		if stage == outside || stage == inside {
			for i, change := range c.list {
				if errs[i] != nil && change.stage == stage {
					failed[change.namespace()] = true
				}
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err // as all of them say
	}
	return errors.Join(errs...)
}

// make makes one change.
func (a api) make(ctx context.Context, c change) error {
	if c.sign == "-" {
		return a.delete(ctx, c.object)
	}
	_, err := a.apply(ctx, c.object)
	return err
}
