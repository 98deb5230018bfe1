# shellcheck shell=sh # sourced by login shells
# for root: etcdctl endpoint health --cluster
export ETCDCTL_CACERT=/etc/etcd/pki/ca.crt
export ETCDCTL_CERT=/etc/etcd/pki/client.crt
export ETCDCTL_ENDPOINTS=https://127.0.0.1:2379
export ETCDCTL_KEY=/etc/etcd/pki/client.key
