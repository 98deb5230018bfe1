module kubernetes-openstack/hack/toolchain/images

go 1.26

toolchain go1.26.8
