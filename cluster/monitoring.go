package cluster

import (
	"slices"

	"kubernetes-openstack/internal/field"
)

// validateMonitoring checks that Prometheus and Alertmanager get volumes.
func (c Config) validateMonitoring(e *field.Errors) {
	m, classes := c.Monitoring, c.Storage.storageClasses()
	var names []string
	hasDefault := false
	for _, class := range classes {
		names = append(names, class.Name)
		hasDefault = hasDefault || class.Default
	}
	switch {
	case m.StorageClass != "" && !slices.Contains(names, m.StorageClass):
		e.Add("monitoring.storageClass", "%s is not a class of storage.classes: use %s", m.StorageClass, orList(names))
	case m.Enabled && m.StorageClass == "" && !hasDefault:
		e.Add("monitoring.storageClass", "must be set to %s, because storage.classes has no default", orList(names))
	}
}
