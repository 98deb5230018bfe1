package tenancy

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernetes-openstack/internal/field"
)

// Unlimited is the value of a Quota's field without a limit.
const Unlimited = -1

// Quota is a project's quota in Nova and Cinder. Each field is Unlimited or at least 0. The zero value allows
// nothing. It is the value of a project whose quota was not read.
type Quota struct {
	// Cores and RAM (MiB) are the limits of all instances.
	Cores int64 `json:"cores"`
	RAM   int64 `json:"ram"`
	// Gigabytes (GiB) is the limit of all volumes.
	Gigabytes int64 `json:"gigabytes"`
	Volumes   int64 `json:"volumes"`
	Snapshots int64 `json:"snapshots"`
}

// limit is one field of a Quota as a Kubernetes quota.
type limit struct {
	key      string // the name of the field
	resource corev1.ResourceName
	number   int64
	unit     string
}

// limits returns the limits of a project in the cluster. A project can use its quota once in OpenStack and once more
// in the cluster. Cores limit the CPU requests of containers, because containers share CPUs under load, like
// instances in Nova. RAM limits the memory limits of containers, because memory in use is not shared.
func (q Quota) limits() []limit {
	return []limit{
		{"cores", corev1.ResourceRequestsCPU, q.Cores, ""},
		{"ram", corev1.ResourceLimitsMemory, q.RAM, "Mi"},
		{"gigabytes", corev1.ResourceRequestsStorage, q.Gigabytes, "Gi"},
		{"volumes", corev1.ResourcePersistentVolumeClaims, q.Volumes, ""},
		{"snapshots", "count/volumesnapshots.snapshot.storage.k8s.io", q.Snapshots, ""},
	}
}

func (q Quota) validate(e *field.Errors, path string) {
	for _, l := range q.limits() {
		if l.number < Unlimited {
			e.Add(path+"."+l.key, "must be -1 (unlimited) or at least 0, not %d", l.number)
		}
	}
}

// resourceQuotas returns the tenant's ResourceQuotas. The first one forbids pods with a system priority class,
// because such pods preempt other tenants' pods. The second one has the limits. It is omitted if everything is
// unlimited.
func (t Tenant) resourceQuotas() []*corev1.ResourceQuota {
	hard := corev1.ResourceList{}
	for _, l := range t.Quota.limits() {
		if l.number != Unlimited {
			hard[l.resource] = quantity.MustParse(fmt.Sprint(l.number, l.unit))
		}
	}
	quotas := []*corev1.ResourceQuota{t.resourceQuota("no-system-priority", corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{corev1.ResourcePods: quantity.MustParse("0")},
		ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{{
			ScopeName: corev1.ResourceQuotaScopePriorityClass,
			Operator:  corev1.ScopeSelectorOpIn,
			Values:    []string{"system-cluster-critical", "system-node-critical"},
		}}},
	})}
	if len(hard) > 0 {
		quotas = append(quotas, t.resourceQuota("tenant", corev1.ResourceQuotaSpec{Hard: hard}))
	}
	return quotas
}

func (t Tenant) resourceQuota(name string, spec corev1.ResourceQuotaSpec) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ResourceQuota"},
		ObjectMeta: t.metadata(name),
		Spec:       spec,
	}
}

// limitRange returns the defaults for containers without requests and limits. A ResourceQuota refuses pods without a
// value for a limited resource. limitRange returns nil if the quota limits neither CPU nor memory. The default memory
// request equals the default memory limit.
func (t Tenant) limitRange() *corev1.LimitRange {
	item := corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, DefaultRequest: corev1.ResourceList{}}
	if t.Quota.Cores != Unlimited {
		item.DefaultRequest[corev1.ResourceCPU] = quantity.MustParse("100m")
	}
	if t.Quota.RAM != Unlimited {
		memory := quantity.MustParse("512Mi")
		item.Default = corev1.ResourceList{corev1.ResourceMemory: memory}
		item.DefaultRequest[corev1.ResourceMemory] = memory // the API server's default, so no difference to it
	}
	if len(item.DefaultRequest) == 0 {
		return nil
	}
	return &corev1.LimitRange{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "LimitRange"},
		ObjectMeta: t.metadata("tenant"),
		Spec:       corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}},
	}
}
