package main

import (
	"context"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// backend holds the Services and Endpoints of the cluster. It computes the records of a name when SkyDNS asks for them.
// The ClusterRole system:kube-dns allows these two kinds only, so EndpointSlices are not used.
type backend struct {
	domain              string // with a dot at the end
	services, endpoints cache.Indexer
	informers           []cache.SharedIndexInformer
}

// byIP is the index of Services by their ClusterIPs, and of Endpoints by their addresses with a host name.
const byIP = "ip"

func newBackend(domain string, services, endpoints cache.ListerWatcher) *backend {
	s := cache.NewSharedIndexInformer(services, &corev1.Service{}, 0, cache.Indexers{byIP: serviceIPs})
	e := cache.NewSharedIndexInformer(endpoints, &corev1.Endpoints{}, 0, cache.Indexers{byIP: namedIPs})
	for _, informer := range []cache.SharedIndexInformer{s, e} {
		if err := informer.SetTransform(withoutManagedFields); err != nil {
			panic(err) // possible only after its start
		}
	}
	return &backend{dns.CanonicalName(domain), s.GetIndexer(), e.GetIndexer(), []cache.SharedIndexInformer{s, e}}
}

// withoutManagedFields removes the part of an object that needs most of its memory.
func withoutManagedFields(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

// listWatches returns the requests for all Services and all Endpoints.
func listWatches(config *rest.Config) (services, endpoints cache.ListerWatcher, err error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, nil, err
	}
	config.GroupVersion, config.APIPath = &corev1.SchemeGroupVersion, "/api"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	config.WarningHandlerWithContext = rest.NoWarnings{} // Endpoints are deprecated
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, nil, err
	}
	of := func(resource string) cache.ListerWatcher {
		return cache.NewListWatchFromClient(client, resource, corev1.NamespaceAll, fields.Everything())
	}
	return of("services"), of("endpoints"), nil
}

// run follows the changes until ctx ends.
func (b *backend) run(ctx context.Context) error {
	for _, informer := range b.informers {
		go informer.RunWithContext(ctx)
	}
	<-ctx.Done()
	return nil
}

// wait waits until everything is loaded. It returns false if ctx ends before.
func (b *backend) wait(ctx context.Context) bool {
	return cache.WaitForCacheSync(ctx.Done(), b.HasSynced)
}

// HasSynced returns true if everything is loaded. SkyDNS refuses queries before.
func (b *backend) HasSynced() bool {
	for _, informer := range b.informers {
		if !informer.HasSynced() {
			return false
		}
	}
	return true
}

// service returns a Service, or nil if it does not exist.
func (b *backend) service(namespace, name string) *corev1.Service {
	if object, exists, _ := b.services.GetByKey(namespace + "/" + name); exists {
		return object.(*corev1.Service)
	}
	return nil
}

// endpointsOf returns the Endpoints of a Service, or empty ones.
func (b *backend) endpointsOf(s *corev1.Service) *corev1.Endpoints {
	if object, exists, _ := b.endpoints.GetByKey(s.Namespace + "/" + s.Name); exists {
		return object.(*corev1.Endpoints)
	}
	return &corev1.Endpoints{}
}

func serviceIPs(object any) (ips []string, err error) {
	for _, text := range clusterIPs(object.(*corev1.Service)) {
		if ip, ok := canonical(text); ok {
			ips = append(ips, ip)
		}
	}
	return ips, nil
}

// clusterIPs returns the addresses of a Service. A headless Service and an external name have none.
func clusterIPs(s *corev1.Service) []string {
	if s.Spec.ClusterIP == "" || headless(s) {
		return nil
	}
	if len(s.Spec.ClusterIPs) > 0 {
		return s.Spec.ClusterIPs
	}
	return []string{s.Spec.ClusterIP}
}

func headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

func namedIPs(object any) (ips []string, err error) {
	for _, subset := range object.(*corev1.Endpoints).Subsets {
		for _, address := range subset.Addresses {
			if ip, ok := canonical(address.IP); ok && address.Hostname != "" {
				ips = append(ips, ip)
			}
		}
	}
	return ips, nil
}
