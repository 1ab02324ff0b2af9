import { Component, type ReactNode } from "react";

interface Props {
  /** Called before the children are shown again. */
  again(): void;
  children: ReactNode;
}

/** Shows why the SDK's client could not be created, and lets the person try again. */
export class Boundary extends Component<Props, { error: Error | null }> {
  override state = { error: null as Error | null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    const again = () => {
      this.props.again();
      this.setState({ error: null });
    };
    return (
      <section className="card notice" data-tone="bad" role="alert">
        <p>Flex did not answer: {error.message}</p>
        <button type="button" onClick={again}>Try again</button>
      </section>
    );
  }
}
