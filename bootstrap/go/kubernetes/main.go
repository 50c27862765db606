// Command pulumi-resource-kubernetes is Pulumi's Kubernetes provider. Its releases are not to be had as a Go module; the
// packages that they are made of are.
package main

import (
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
)

// version is set by the linker; programs ask for the plugin by it.
var version = "0.0.0"

// Of its schema the provider itself asks only for the names of what it imports into a state, which Berth never does; the
// rest is for documents, code generation and programs in YAML.
var (
	schema           = []byte(`{"name": "kubernetes"}`)
	terraformMapping = []byte(`{}`)
)

func main() {
	provider.Serve("kubernetes", version, schema, terraformMapping)
}
