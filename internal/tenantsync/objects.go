package tenantsync

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"kubernetes-openstack/internal/tenancy"
)

// manager is the field manager of all that is ours.
const manager = "tenant-sync"

type object = unstructured.Unstructured

var (
	namespaceKind = corev1.SchemeGroupVersion.WithKind("Namespace")
	bindingKind   = rbacv1.SchemeGroupVersion.WithKind("RoleBinding")
)

// kinds are those of what is planned in namespaces.
var kinds = []schema.GroupVersionKind{
	bindingKind,
	corev1.SchemeGroupVersion.WithKind("ResourceQuota"),
	corev1.SchemeGroupVersion.WithKind("LimitRange"),
	networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"),
}

// id is an object's, whatever its version.
type id struct {
	schema.GroupKind
	namespace, name string
}

func idOf(o *object) id { return id{o.GroupVersionKind().GroupKind(), o.GetNamespace(), o.GetName()} }

func (i id) String() string {
	name := i.name
	if i.namespace != "" {
		name = i.namespace + "/" + name
	}
	return strings.ToLower(i.Kind) + " " + name
}

// api is Kubernetes'.
type api struct{ dynamic.Interface }

func newAPI(config *rest.Config) (api, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // parallel is the limit
	client, err := dynamic.NewForConfig(config)
	return api{client}, err
}

// of is where objects of the kind are; in a namespace, unless it is empty.
func (a api) of(kind schema.GroupVersionKind, namespace string) dynamic.ResourceInterface {
	resource, _ := meta.UnsafeGuessKindToResource(kind) // right for all that is planned
	if namespace == "" {
		return a.Resource(resource)
	}
	return a.Resource(resource).Namespace(namespace)
}

// list is all of the kind in all namespaces, or those with a label.
func (a api) list(ctx context.Context, kind schema.GroupVersionKind, label string) ([]object, error) {
	list, err := a.of(kind, "").List(ctx, metav1.ListOptions{LabelSelector: label})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// existing are the objects that there are of those planned, and all others that say of themselves that they are ours.
func (a api) existing(ctx context.Context, planned []*object, namespaces []object) (map[id]*object, error) {
	out := map[id]*object{}
	add := func(objects []object) {
		for i := range objects {
			out[idOf(&objects[i])] = &objects[i]
		}
	}
	add(namespaces)
	for _, kind := range kinds {
		list, err := a.list(ctx, kind, tenancy.ProjectLabel)
		if err != nil {
			return nil, err
		}
		add(list)
	}
	for _, o := range planned {
		if o.GetNamespace() != "" || o.GetKind() == namespaceKind.Kind {
			continue
		}
		found, err := a.of(o.GroupVersionKind(), "").Get(ctx, o.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		add([]object{*found})
	}
	return out, nil
}

// apply makes the object be as planned; the fields that nobody plans are others' to have.
func (a api) apply(ctx context.Context, o *object, dryRun ...string) (*object, error) {
	return a.of(o.GroupVersionKind(), o.GetNamespace()).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{
		FieldManager: manager, Force: true, DryRun: dryRun,
	})
}

// delete deletes the very object that was seen, not one that has taken its place.
func (a api) delete(ctx context.Context, o *object) error {
	uid := o.GetUID()
	err := a.of(o.GroupVersionKind(), o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// differs tells whether to apply the planned object would change the one that there is. The API server knows: it has
// defaults. It is not asked where what we applied last is as it was, and as it is planned, as nearly all is each time.
func (a api) differs(ctx context.Context, is, planned *object) (bool, error) {
	fields := applied(is)
	if fields != nil && reflect.DeepEqual(owned(fields, is.Object), fieldsOf(planned)) {
		return false, nil
	}
	would, err := a.apply(ctx, planned, metav1.DryRunAll)
	if err != nil {
		return true, err
	}
	return !reflect.DeepEqual(fields, applied(would)) || !reflect.DeepEqual(content(is), content(would)), nil
}

// content of an object is what others do not change all the time.
func content(o *object) map[string]any {
	o = o.DeepCopy()
	o.SetResourceVersion("")
	o.SetManagedFields(nil)
	delete(o.Object, "status")
	return o.Object
}

// applied are the fields that we applied and nobody else took since, in FieldsV1; nil where we applied none.
func applied(o *object) map[string]any {
	for _, m := range o.GetManagedFields() {
		if m.Manager == manager && m.Operation == metav1.ManagedFieldsOperationApply && m.Subresource == "" &&
			m.FieldsV1 != nil {
			var fields map[string]any
			if json.Unmarshal(m.FieldsV1.GetRawBytes(), &fields) == nil {
				return fields
			}
		}
	}
	return nil
}

// owned is the value, of maps only the fields. Lists are taken as a whole.
func owned(fields map[string]any, value any) any {
	of, isMap := value.(map[string]any)
	out := map[string]any{}
	for key, inner := range fields {
		name, isField := strings.CutPrefix(key, "f:")
		if !isField || !isMap {
			continue
		}
		if v, there := of[name]; there {
			inner, _ := inner.(map[string]any)
			out[name] = owned(inner, v)
		}
	}
	if len(out) == 0 {
		return value
	}
	return out
}

// fieldsOf a planned object are those that one owns who applies it: not its name and kind.
func fieldsOf(planned *object) map[string]any {
	out := maps.Clone(planned.Object)
	delete(out, "apiVersion")
	delete(out, "kind")
	metadata := maps.Clone(out["metadata"].(map[string]any))
	delete(metadata, "name")
	delete(metadata, "namespace")
	if out["metadata"] = metadata; len(metadata) == 0 {
		delete(out, "metadata")
	}
	return out
}

// toApply is a planned object with no field that is not planned, such as an empty status.
func toApply(planned runtime.Object) (*object, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(planned)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(fields, func(_ string, value any) bool { return reflect.DeepEqual(value, map[string]any{}) })
	o := &object{Object: fields}
	unstructured.RemoveNestedField(fields, "metadata", "creationTimestamp")
	return o, nil
}

// subjects are the names of those to whom a RoleBinding gives access.
func subjects(binding *object) []string {
	var names []string
	list, _, _ := unstructured.NestedSlice(binding.Object, "subjects")
	for _, s := range list {
		if subject, ok := s.(map[string]any); ok {
			names = append(names, fmt.Sprint(subject["name"]))
		}
	}
	slices.Sort(names)
	return names
}
