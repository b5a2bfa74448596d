//! explore
use crate::exact::{Call, numbers, verdict};
use crate::libseccomp;
use crate::oracle::Oracle;
use crate::profiles::{self, Choice, Random};
use crate::seccomp::Arch;
use std::collections::BTreeMap;

#[test]
fn explore() {
    let little = |little: bool| Arch::ALL.into_iter().filter(|a| (a.audit() & 0x4000_0000 != 0) == little && a.name() != "SCMP_ARCH_LOONGARCH64").collect::<Vec<_>>();
    let ops: Vec<&'static str> = if std::env::var_os("ALLOPS").is_some() { Choice::all().operators } else { vec!["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"] };
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let n: u64 = std::env::var("N").unwrap_or("200".into()).parse().unwrap();
    let only: Option<u64> = std::env::var("ONLY").ok().map(|s| s.parse().unwrap());
    for seed in only.unwrap_or(0)..only.map_or(n, |s| s + 1) {
        let mut random = Random(seed + 1_000_000);
        let archs = little(seed % 2 == 0);
        let choice = Choice { operators: ops.clone(), archs, ..Choice::all() };
        let (mut profile, native) = profiles::generate(&mut random, &choice);
        for r in profile["syscalls"].as_array_mut().unwrap() { r["names"].as_array_mut().unwrap().retain(|n| ::libseccomp::ScmpSyscall::from_name(n.as_str().unwrap()).is_ok_and(|s| s.as_raw_syscall() != -1 && s.get_name().is_ok_and(|m| m == n.as_str().unwrap()))); }
        let theirs = match libseccomp::compile(&profile, native, 1) {
            Ok(p) => p,
            Err(e) => { if e.contains("new filter") || e.contains("Invalid") || e.contains("exist") { println!("{seed} {e} {} {} {}", profile["defaultAction"], profile["defaultErrnoRet"], profile["syscalls"].to_string()); } *kinds.entry(format!("error {e}")).or_default() += 1; continue; }
        };
        let loads = theirs.iter().enumerate().all(|(at, i)| i.code != 0x15 || !Arch::ALL.iter().any(|a| a.audit() == i.k) || { let t = theirs[at + 1 + usize::from(i.jt)]; t.code != 0x15 && t.code != 0x35 && t.code != 0x25 });
        if !loads { *kinds.entry("forgot".into()).or_default() += 1; continue }
        let Ok(ours) = crate::compile(&profile, native) else { continue };
        let archs = profiles::archs(&profile, native);
        let oracle = Oracle::new(&profile, &archs);
        let arguments = profiles::arguments(&profile);
        let mut shown = 0;
        for arch in archs {
            for number in numbers(arch) {
                if arch.name_of(number).is_some_and(|n| ::libseccomp::ScmpSyscall::from_name_by_arch(n, libseccomp::scmp_arch(arch.name())).ok().is_none_or(|s| s.as_raw_syscall() < 0)) { continue }
                for _ in 0..6 {
                    let args = [0; 6].map(|_| random.of(&arguments));
                    let call = Call { arch, number, args };
                    let (a, b) = (verdict(&ours, &call), verdict(&theirs, &call));
                    let _ = &oracle;
                    if a != b {
                        let kind = if a == 0x50026 { "enosys".to_string() } else if oracle.met_actions(arch, number, &args).len() > 1 { "overlap".into() } else { "other".to_string() };
                        *kinds.entry(kind.clone()).or_default() += 1;
                        if kind == "other" && shown < 2 {
                            shown += 1;
                            if only.is_some() { println!("{profile}\n{}", crate::seccomp::bpf::disassemble(&theirs)); }
                            println!("seed {seed}: {} {number} {:?} {args:x?} ours {a:#x} theirs {b:#x}", arch.name(), arch.name_of(number));
                            println!("   native {} default {} {}", native.name(), profile["defaultAction"], profile["defaultErrnoRet"]);
                            for (i, r) in profile["syscalls"].as_array().unwrap().iter().enumerate() {
                                if arch.name_of(number).is_none_or(|n| r["names"].as_array().unwrap().iter().any(|x| x == n || ["socket","semop","shmat","accept4"].iter().any(|y| x == y))) { println!("   {i}: {} {} {} {}", r["action"], r["errnoRet"], r["args"], if r["names"].as_array().unwrap().len() < 20 {r["names"].clone()} else {"..".into()}); }
                            }
                        }
                    }
                }
            }
        }
    }
    println!("{kinds:#?}");
}
#[test]
fn dump() {
    let p = serde_json::json!({"defaultAction":"SCMP_ACT_TRACE","architectures":["SCMP_ARCH_X86"],"syscalls":[{"names":["clone","socketcall"],"action":"SCMP_ACT_ERRNO","errnoRet":22,"args":[{"index":3,"op":"SCMP_CMP_EQ","value":4294967295u64}]}]});
    println!("{}", crate::seccomp::bpf::disassemble(&libseccomp::compile(&p, Arch::X86_64, 1).unwrap()));
    let p = serde_json::json!({"defaultAction":"SCMP_ACT_TRACE","architectures":["SCMP_ARCH_RISCV64"],"syscalls":[{"names":["clone","socketcall"],"action":"SCMP_ACT_ERRNO","errnoRet":22,"args":[{"index":3,"op":"SCMP_CMP_EQ","value":4294967295u64}]}]});
    println!("{}", crate::seccomp::bpf::disassemble(&libseccomp::compile(&p, profiles::by_name("SCMP_ARCH_MIPSEL64N32"), 1).unwrap()));
    let p = serde_json::json!({"defaultAction":"SCMP_ACT_KILL","syscalls":[
      {"names":["shmat"],"action":"SCMP_ACT_NOTIFY","args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":32768,"valueTwo":0},{"index":5,"op":"SCMP_CMP_MASKED_EQ","value":32768},{"index":4,"op":"SCMP_CMP_EQ","value":23749526137634610u64}]}]});
    println!("{}", crate::seccomp::bpf::disassemble(&libseccomp::compile(&p, profiles::by_name("SCMP_ARCH_X86"), 1).unwrap()));
}
