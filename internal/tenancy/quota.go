package tenancy

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernetes-openstack/internal/field"
)

// Unlimited is a Quota's number where there is no limit.
const Unlimited = -1

// Quota is how much a project may have of Nova and Cinder, each Unlimited or 0
// and more. One that was not read is one of nothing.
type Quota struct {
	// Cores and RAM (MiB) of all its instances.
	Cores int64 `json:"cores"`
	RAM   int64 `json:"ram"`
	// Gigabytes (GiB) of all its volumes.
	Gigabytes int64 `json:"gigabytes"`
	Volumes   int64 `json:"volumes"`
	Snapshots int64 `json:"snapshots"`
}

// limit is one number of a Quota, in Kubernetes' terms.
type limit struct {
	key      string // in the Quota
	resource corev1.ResourceName
	number   int64
	unit     string
}

// limits are what a project may have in the cluster: as much again as outside of it. Its cores are what its
// containers may request, as CPUs are shared where all are wanted at once, by Nova too; its memory is what they may
// take, as that is nobody else's until they give it back.
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
			e.Add(path+"."+l.key, "must be -1, which is unlimited, or 0 and more, not %d", l.number)
		}
	}
}

// resourceQuotas of the tenant: what it may have, unless all is unlimited, and that no
// pod of it is of those that others' are ended for.
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

// limitRange is what a container gets that does not say itself what the quota counts, and would be refused; nil where
// the quota counts neither CPUs nor memory. Memory is then requested as much as may be taken.
func (t Tenant) limitRange() *corev1.LimitRange {
	item := corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, DefaultRequest: corev1.ResourceList{}}
	if t.Quota.Cores != Unlimited {
		item.DefaultRequest[corev1.ResourceCPU] = quantity.MustParse("100m")
	}
	if t.Quota.RAM != Unlimited {
		memory := quantity.MustParse("512Mi")
		item.Default = corev1.ResourceList{corev1.ResourceMemory: memory}
		item.DefaultRequest[corev1.ResourceMemory] = memory // what Kubernetes would fill in, and a sync find to be another
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
