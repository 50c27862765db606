// In the place of the file of this name in pkg/provider, which serves the components of pulumi-kubernetes (yaml/v2,
// helm.sh/v4, kustomize/v2). Berth uses none; they alone need the provider's SDK for Go, which is most of the build.
package provider

import (
	"context"
	"fmt"

	providerresource "github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider/resource"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

var resourceProviders = map[string]providerresource.ResourceProviderFactory{}

// Construct refuses every component.
func (k *kubeProvider) Construct(_ context.Context, req *pulumirpc.ConstructRequest) (*pulumirpc.ConstructResponse, error) {
	return nil, fmt.Errorf("%s is not served by this build of the plugin; install the released one", req.GetType())
}
