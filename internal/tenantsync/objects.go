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

// fieldManager is the field manager of all fields that this package applies.
const fieldManager = "tenant-sync"

type object = unstructured.Unstructured

var (
	namespaceKind = corev1.SchemeGroupVersion.WithKind("Namespace")
	bindingKind   = rbacv1.SchemeGroupVersion.WithKind("RoleBinding")
)

// kinds are the kinds of planned objects in namespaces.
var kinds = []schema.GroupVersionKind{
	bindingKind,
	corev1.SchemeGroupVersion.WithKind("ResourceQuota"),
	corev1.SchemeGroupVersion.WithKind("LimitRange"),
	networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"),
}

// id identifies an object in all API versions.
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

// api is a client of the Kubernetes API.
type api struct{ dynamic.Interface }

func newAPI(config *rest.Config) (api, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // maxParallel limits the requests
	client, err := dynamic.NewForConfig(config)
	return api{client}, err
}

// resourceOf returns the client of a kind in a namespace, or in the whole cluster if namespace is empty.
func (a api) resourceOf(kind schema.GroupVersionKind, namespace string) dynamic.ResourceInterface {
	resource, _ := meta.UnsafeGuessKindToResource(kind) // correct for all planned kinds
	if namespace == "" {
		return a.Resource(resource)
	}
	return a.Resource(resource).Namespace(namespace)
}

// list returns all objects of a kind in all namespaces. If label is set, it returns only objects with this label.
func (a api) list(ctx context.Context, kind schema.GroupVersionKind, label string) ([]object, error) {
	list, err := a.resourceOf(kind, "").List(ctx, metav1.ListOptions{LabelSelector: label})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// existing returns the existing objects of the plan, and all objects with ProjectLabel.
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
		found, err := a.resourceOf(o.GroupVersionKind(), "").Get(ctx, o.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		add([]object{*found})
	}
	return out, nil
}

// apply applies the planned fields. Other clients own all other fields.
func (a api) apply(ctx context.Context, o *object, dryRun ...string) (*object, error) {
	return a.resourceOf(o.GroupVersionKind(), o.GetNamespace()).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{
		FieldManager: fieldManager, Force: true, DryRun: dryRun,
	})
}

// delete deletes the object with the UID of o, and not a new object with the same name.
func (a api) delete(ctx context.Context, o *object) error {
	uid := o.GetUID()
	err := a.resourceOf(o.GroupVersionKind(), o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// differs reports whether applying planned would change current. The API server decides this in a dry run, because it
// sets defaults. No dry run is necessary if our applied fields are unchanged and equal to the planned ones. This is
// the case for most objects.
func (a api) differs(ctx context.Context, current, planned *object) (bool, error) {
	fields := appliedFields(current)
	if fields != nil && reflect.DeepEqual(valuesOf(fields, current.Object), plannedFields(planned)) {
		return false, nil
	}
	result, err := a.apply(ctx, planned, metav1.DryRunAll)
	if err != nil {
		return true, err
	}
	return !reflect.DeepEqual(fields, appliedFields(result)) || !reflect.DeepEqual(content(current), content(result)), nil
}

// content returns the object without the parts that change all the time.
func content(o *object) map[string]any {
	o = o.DeepCopy()
	o.SetResourceVersion("")
	o.SetManagedFields(nil)
	delete(o.Object, "status")
	return o.Object
}

// appliedFields returns the fields, in FieldsV1 format, that our field manager applied and still owns. It returns nil
// if there are none.
func appliedFields(o *object) map[string]any {
	for _, m := range o.GetManagedFields() {
		if m.Manager == fieldManager && m.Operation == metav1.ManagedFieldsOperationApply && m.Subresource == "" &&
			m.FieldsV1 != nil {
			var fields map[string]any
			if json.Unmarshal(m.FieldsV1.GetRawBytes(), &fields) == nil {
				return fields
			}
		}
	}
	return nil
}

// valuesOf returns the parts of value that fields contains. It returns lists as a whole.
func valuesOf(fields map[string]any, value any) any {
	object, isMap := value.(map[string]any)
	out := map[string]any{}
	for key, inner := range fields {
		name, isField := strings.CutPrefix(key, "f:")
		if !isField || !isMap {
			continue
		}
		if v, exists := object[name]; exists {
			inner, _ := inner.(map[string]any)
			out[name] = valuesOf(inner, v)
		}
	}
	if len(out) == 0 {
		return value
	}
	return out
}

// plannedFields returns the fields that a client owns after it has applied planned. These do not include name and
// kind.
func plannedFields(planned *object) map[string]any {
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

// toUnstructured converts a planned object. It removes fields that are not planned, such as an empty status.
func toUnstructured(planned runtime.Object) (*object, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(planned)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(fields, func(_ string, value any) bool { return reflect.DeepEqual(value, map[string]any{}) })
	o := &object{Object: fields}
	unstructured.RemoveNestedField(fields, "metadata", "creationTimestamp")
	return o, nil
}

// subjects returns the sorted names of the subjects of a RoleBinding.
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
