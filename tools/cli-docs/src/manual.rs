//! The manual. What can be typed is in the words of `--help`; what its definition can't know is in docs/orlop.8.in.

use clap::builder::StyledStr;
use clap::{Arg, Command};
use clap_mangen::Man;
use std::fs;
use std::io::{Error, Result, Write};
use std::path::Path;

/// The end of orlop.8's description, and the sections after the options and commands.
const WRITTEN: &str = include_str!("../../../docs/orlop.8.in");

/// The sections after the options of a command.
const OF_A_COMMAND: &str = ".SH SEE ALSO\n.BR orlop (8)\n";

/// Writes orlop.8, and a page for each command.
pub fn write(dir: &Path, mut command: Command) -> Result<()> {
    command.build();
    let sections = WRITTEN.find("\n.SH ").ok_or_else(|| Error::other("docs/orlop.8.in has no section"))?;
    let (description, sections) = WRITTEN.split_at(sections + 1);
    write_page(dir, &command, description, sections)?;
    write_commands(dir, &command)
}

fn write_commands(dir: &Path, above: &Command) -> Result<()> {
    for command in above.get_subcommands() {
        write_page(dir, command, "", OF_A_COMMAND)?;
        write_commands(dir, command)?;
    }
    Ok(())
}

fn write_page(dir: &Path, command: &Command, description: &str, sections: &str) -> Result<()> {
    let about = command.get_long_about().or(command.get_about()).map(sentence).unwrap_or_default();
    let full = command.clone().long_about(about).mut_args(in_full);
    let usage = full.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace('-', "\\-");
    let man =
        Man::new(full.subcommand_help_heading("COMMANDS").subcommand_value_name("COMMAND")).section("8");
    let file = man.get_filename();
    let mut page = Vec::new();
    // Man's own title would take the source for the date if there is none. A date would differ from build to build.
    writeln!(page, ".TH {} 8 \"\" orlop", file.trim_end_matches(".8").to_uppercase())?;
    man.render_name_section(&mut page)?;
    // Man's own has every option, without its value, and no dots after what may be repeated.
    writeln!(page, ".SH SYNOPSIS\n{usage}")?;
    man.render_description_section(&mut page)?;
    page.write_all(description.as_bytes())?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    page.write_all(sections.as_bytes())?;
    fs::write(dir.join(file), typeset(&String::from_utf8_lossy(&page)))
}

/// An option with the names that Man leaves out.
fn in_full(arg: Arg) -> Arg {
    let help = arg.get_long_help().or(arg.get_help()).map(sentence).unwrap_or_default();
    let short =
        arg.get_visible_short_aliases().unwrap_or_default().into_iter().map(|name| format!("`-{name}`"));
    let long = arg.get_visible_aliases().unwrap_or_default().into_iter().map(|name| format!("`--{name}`"));
    let also = short.chain(long).map(|name| format!("\nAlso {name}.")).collect::<String>();
    arg.long_help(help + &also)
}

/// clap takes the period from a text of one paragraph.
fn sentence(help: &StyledStr) -> String {
    format!("{}.", help.to_string().trim_end_matches('.'))
}

/// Bold for what stands in backquotes, and a line's end where Man has put an empty line: an option's paragraphs are short.
fn typeset(page: &str) -> String {
    let page = page.replace("\n\n", "\n").replace(".br\n.br\n", ".br\n");
    let parts = page.split('`').enumerate();
    parts.map(|(i, part)| if i % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() }).collect()
}
