package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	computev1 "shop/gen/forebay/compute/v1"
)

const attempts = 20

// partial is what has arrived of a call so far.
type partial struct {
	received int // ordinary items; progress does not count
	digits   strings.Builder
}

// digits returns n!. With a call ID it survives the loss of connections and gateways: it calls
// again with the same ID and continues behind the items that it has.
func digits(
	ctx context.Context, client computev1.ComputeServiceClient, callID string, n uint64,
) (string, error) {
	var got partial
	for attempt := 1; ; attempt++ {
		err := got.attach(ctx, client, callID, n)
		if err == nil {
			return got.digits.String(), nil
		}
		delay, again := retryDelay(err)
		if !again || callID == "" || attempt == attempts || ctx.Err() != nil {
			return "", err
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// attach starts the call, or attaches to it, and reads the items that are not there yet.
func (got *partial) attach(
	ctx context.Context, client computev1.ComputeServiceClient, callID string, n uint64,
) error {
	if callID != "" {
		ctx = withCall(ctx, callID, got.received)
	}
	stream, err := client.Factorial(ctx, &computev1.FactorialRequest{N: n})
	if err != nil {
		return err
	}
	for {
		item, err := nextItem(stream)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		got.received++
		got.digits.WriteString(item.GetDigits())
	}
}

// nextItem skips progress, which is the route's transient field.
func nextItem(stream computev1.ComputeService_FactorialClient) (*computev1.FactorialResponse, error) {
	for {
		response, err := stream.Recv()
		if err != nil || response.GetProgress() == nil {
			return response, err
		}
	}
}

func withCall(ctx context.Context, callID string, received int) context.Context {
	return metadata.AppendToOutgoingContext(ctx,
		"forebay-call-id", callID, "forebay-resume-from", fmt.Sprint(received))
}

// retryDelay says when to call again, and whether. Forebay's errors have an ErrorInfo, and a
// RetryInfo if a retry may help; an error without an ErrorInfo is the connection's.
func retryDelay(err error) (time.Duration, bool) {
	var info *errdetails.ErrorInfo
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.RetryInfo:
			delay := detail.GetRetryDelay()
			return time.Duration(delay.GetSeconds()*1e9 + int64(delay.GetNanos())), true
		case *errdetails.ErrorInfo:
			info = detail
		}
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.Canceled:
		random := time.Duration(rand.Int63n(int64(500 * time.Millisecond)))
		return random, info == nil
	}
	return 0, false
}

// describe shows the code, the reason and the invalid fields of an error.
func describe(err error) string {
	failure := status.Convert(err)
	parts := []string{failure.Code().String()}
	for _, detail := range failure.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			parts = append(parts, detail.GetReason())
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				parts = append(parts, violation.GetField()+": "+violation.GetDescription())
			}
		}
	}
	return strings.Join(parts, ", ")
}
