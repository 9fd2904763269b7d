// Calls Forebay's ComputeService: `go run . HOST:PORT add|error|deadline|resume|factorial`.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	computev1 "shop/gen/forebay/compute/v1"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: go run . HOST:PORT add|error|deadline|resume|factorial")
	}
	credentials := grpc.WithTransportCredentials(insecure.NewCredentials())
	connection, err := grpc.NewClient(os.Args[1], secured(credentials))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	client := computev1.NewComputeServiceClient(connection)
	switch os.Args[2] {
	case "add":
		err = add(client)
	case "error":
		err = outOfRange(client)
	case "deadline":
		err = tooLate(client)
	case "resume":
		err = resume(client)
	case "factorial":
		err = factorial(client)
	default:
		log.Fatalf("unknown step %q", os.Args[2])
	}
	if err != nil {
		log.Fatal(err)
	}
}

// secured returns the credentials for TLS if the variables of `forebay` name files of it.
func secured(plain grpc.DialOption) grpc.DialOption {
	ca := os.Getenv("FOREBAY_CLIENT__CA")
	if ca == "" {
		return plain
	}
	cert, key := os.Getenv("FOREBAY_CLIENT__CERT"), os.Getenv("FOREBAY_CLIENT__KEY")
	option, err := withTLS(ca, cert, key)
	if err != nil {
		log.Fatal(err)
	}
	return option
}

func add(client computev1.ComputeServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	response, err := client.Add(ctx, &computev1.AddRequest{X: 4, Y: 6})
	if err != nil {
		return err
	}
	fmt.Println(response.Sum)
	return nil
}

func outOfRange(client computev1.ComputeServiceClient) error {
	_, err := digits(context.Background(), client, "", 1_000_000_000)
	fmt.Println(describe(err))
	return nil
}

// A deadline that passes before the work is done: the gateway stops the work.
func tooLate(client computev1.ComputeServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := digits(ctx, client, "", 9_000_000)
	fmt.Println(describe(err))
	return nil
}

// Breaks a call off after its first item, as a lost connection would, and goes on behind that item.
func resume(client computev1.ComputeServiceClient) error {
	callID := newCallID()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := client.Factorial(withCall(ctx, callID, 0), &computev1.FactorialRequest{N: 30})
	if err != nil {
		return err
	}
	first, err := nextItem(stream)
	if err != nil {
		return err
	}
	fmt.Println("first item:", first.GetHeader().GetDigitCount(), "digits to come")
	cancel()
	rest := &partial{received: 1}
	err = rest.attach(context.Background(), client, callID, 30)
	fmt.Println("second item:", rest.digits.String())
	return err
}

// A longer call, which survives the loss of connections and gateways.
func factorial(client computev1.ComputeServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all, err := digits(ctx, client, newCallID(), 200_000)
	fmt.Printf("%d digits, sha256 %x\n", len(all), sha256.Sum256([]byte(all)))
	return err
}

func newCallID() string {
	return fmt.Sprintf("go-%d", time.Now().UnixNano())
}
