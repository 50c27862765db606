// Command pulumi-resource-docker is Pulumi's Docker provider as the bridge makes it from the Terraform provider of the
// same name. Its own releases are not to be had as a Go module; the parts that they are made of are.
//
// The module's path lies below the Terraform provider's, whose package is internal to it.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// version is set by the linker; programs ask for the plugin by it.
var version = "0.0.0"

// Names are computed; what the SDK for Python spells otherwise is said below. A schema is for documents and code
// generation alone.
//
//go:embed schema.json
var schema []byte

func main() {
	tfbridge.Main("docker", version, info(), schema)
}

func info() tfbridge.ProviderInfo {
	docker := tfbridge.ProviderInfo{
		P:            shimv2.NewProvider(provider.New(version)()),
		Name:         "docker",
		Version:      version,
		MetadataInfo: tfbridge.NewProviderMetadata([]byte("{}")),
		Config: map[string]*tfbridge.SchemaInfo{
			"registry_auth": {Name: "registryAuth"},
		},
		Resources: map[string]*tfbridge.ResourceInfo{
			"docker_image": {
				Tok:    "docker:index/remoteImage:RemoteImage",
				Fields: map[string]*tfbridge.SchemaInfo{"name": {Name: "name"}},
			},
			"docker_container": {
				Tok:                 "docker:index/container:Container",
				DeleteBeforeReplace: true, // two containers cannot have one name or one port
				Fields: map[string]*tfbridge.SchemaInfo{
					"command":           {Name: "command"},
					"networks_advanced": {Name: "networksAdvanced"},
				},
			},
		},
	}
	docker.MustComputeTokens(tokens.SingleModule("docker_", "index", tokens.MakeStandard("docker")))
	docker.SetAutonaming(255, "-") // a name that is not said is the resource's own with a random end
	return docker
}
