package cluster

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"kubernetes-openstack/internal/field"
)

// TestMonitoringCostsNothingUnlessItIsOn compares the plans of a cluster with and without monitoring.
func TestMonitoringCostsNothingUnlessItIsOn(t *testing.T) {
	count := func(enabled bool) (got struct{ authorities, certificates, files, artifacts, rules int }) {
		object := valid(t)
		if enabled {
			set(object, "monitoring.enabled", true)
			set(object, "artifacts.checksums.machine-metrics", strings.Repeat("0", 64))
		}
		p := NewPlan(decoded(t, object))
		for _, a := range p.Authorities {
			if a.Name == MetricsCA {
				got.authorities++
			}
		}
		for _, c := range p.Certificates {
			if c.Authority == MetricsCA {
				assert.Equal(t, Certificate{Name: PrometheusCertificate, Authority: MetricsCA, CommonName: "prometheus",
					Client: true}, c)
				got.certificates++
			}
		}
		for _, m := range p.Machines {
			got.files += len(slices.DeleteFunc(slices.Clone(m.PKI), func(f PKIFile) bool {
				return !slices.Equal(f.Of, []string{MetricsCA}) || f.Part != PartCertificate
			}))
			got.artifacts += len(slices.DeleteFunc(slices.Clone(m.Artifacts), func(a Artifact) bool {
				return a.Name != "machine-metrics"
			}))
		}
		for _, rule := range p.Rules {
			if rule.Port == MetricsPort {
				assert.Equal(t, RoleEtcd, rule.To)
				got.rules++
			}
		}
		return got
	}
	assert.Zero(t, count(false))
	machines := len(NewPlan(decoded(t, valid(t))).Machines)
	assert.Equal(t, struct{ authorities, certificates, files, artifacts, rules int }{1, 1, machines, machines, 1},
		count(true))
}

// TestPrometheusReachesEtcd checks the source of the packets of Prometheus, which is a pod on a worker.
func TestPrometheusReachesEtcd(t *testing.T) {
	for nat, want := range map[bool]string{true: "etcd-9100-from-10.0.0.64/26", false: "etcd-9100-from-10.244.0.0/16"} {
		object := valid(t)
		set(object, "monitoring.enabled", true)
		set(object, "artifacts.checksums.machine-metrics", strings.Repeat("0", 64))
		set(object, "calico.natOutgoing", nat)
		var names []string
		for _, rule := range NewPlan(decoded(t, object)).Rules {
			if rule.Port == MetricsPort {
				names = append(names, rule.Name)
			}
		}
		assert.Equal(t, []string{want}, names)
	}
}

func TestVolumesOfMonitoringHaveAClass(t *testing.T) {
	const path = "monitoring.storageClass"
	for _, row := range []struct {
		class   string
		classes []StorageClass
		want    field.Errors
	}{
		{"", nil, nil},
		{"ssd", []StorageClass{{Name: "hdd", Aliases: []string{"ssd"}}}, nil},
		{"ssd", []StorageClass{{Name: "hdd"}},
			field.Errors{{Path: path, Message: "ssd is not a class of storage.classes: use hdd"}}},
		{"", []StorageClass{{Name: "hdd"}, {Name: "ssd"}},
			field.Errors{{Path: path, Message: "must be set to hdd or ssd, because storage.classes has no default"}}},
	} {
		config := decoded(t, valid(t))
		config.Monitoring.Enabled, config.Monitoring.StorageClass = true, row.class
		config.Storage.Classes = row.classes
		var errs field.Errors
		config.validateMonitoring(&errs)
		assert.Equal(t, row.want, errs)
	}
}
