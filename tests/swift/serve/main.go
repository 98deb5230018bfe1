// Command serve runs the fake OpenStack of package swift, for tests whose network has no connection to the test's
// process:
//
//	serve ADDRESS CONTAINER...
package main

import (
	"log"
	"net/http"
	"os"

	"kubernetes-openstack/tests/swift"
)

func main() {
	log.Fatal(http.ListenAndServe(os.Args[1], swift.New(os.Args[2:]...)))
}
